package report

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// Where there is no terminal, progress is a line now and then.
func TestProgressLines(t *testing.T) {
	for level, want := range map[Level]string{
		Info:    "Receiving\\nobjects: 1/2, 3.0 KiB\n",
		Warning: "",
	} {
		var out strings.Builder
		text := NewText(&out, "prog", level)
		p := Progress{Phase: "Receiving\nobjects", Done: 1, Total: 2, Bytes: 3 << 10}
		text.Progress(p) // too early
		text.nextLine = time.Now().Add(-time.Second)
		text.Progress(p)
		text.Progress(p) // too early again
		if out.String() != want {
			t.Errorf("%v: %q, want %q", level, out.String(), want)
		}
	}
}

// On a terminal it is a bar, whatever numbers the other end says, that goes
// before anything else is written.
func TestProgressBar(t *testing.T) {
	var out strings.Builder
	text := NewText(&out, "prog", Info)
	text.terminal = true
	for _, p := range []Progress{
		{Phase: "Receiving\x1b[31m", Done: 0, Total: 0},
		{Phase: "Receiving\x1b[31m", Done: 1, Total: 2, Bytes: 5 << 20},
		{Phase: "Receiving\x1b[31m", Done: 7, Total: 2},
		{Phase: "Receiving\x1b[31m", Done: -1, Total: -1, Bytes: -1},
		{Phase: "Other", Done: 1, Total: 1},
	} {
		text.Progress(p)
	}
	bar := out.String()
	if !strings.Contains(bar, `Receiving\x1b[31m: 1/2, 5.0 MiB`) || strings.Contains(bar, "\x1b[31m") {
		t.Errorf("bar %q", bar)
	}
	text.Println("line")
	if rest := strings.TrimPrefix(out.String(), bar); !strings.HasPrefix(rest, "\r") || !strings.HasSuffix(rest, "\rline\n") {
		t.Errorf("after the bar: %q", rest)
	}
	out.Reset()
	text.Finish(Result{Destination: "host:repo"})
	if !strings.HasPrefix(out.String(), "To host:repo\n") {
		t.Errorf("the bar is still there: %q", out.String())
	}
}

func TestTotals(t *testing.T) {
	for want, totals := range map[string]Totals{
		"0 objects, 0 B in 0.0 s":                   {},
		"120 objects, 1.2 MiB in 0.3 s (4.0 MiB/s)": {Objects: 120, Bytes: 1258291, Seconds: 0.3},
		"1 objects, 0 B in 2.0 s":                   {Objects: 1, Seconds: 2},
		"0 objects, 0 B in 1.0 s":                   {Bytes: -5, Seconds: 1},
	} {
		if got := totals.String(); got != want {
			t.Errorf("%+v is %q, want %q", totals, got, want)
		}
	}
}

// A level that a later version may have is shown.
func TestLevelJSON(t *testing.T) {
	for text, want := range map[string]Level{`"debug"`: Debug, `"info"`: Info, `"warning"`: Warning, `"fatal"`: Info, `""`: Info} {
		level := Level(-1)
		if err := json.Unmarshal([]byte(text), &level); err != nil || level != want {
			t.Errorf("%s is %v, %v", text, int(level), err)
		}
	}
	if got, err := json.Marshal([]Level{Debug, Info, Warning}); err != nil || string(got) != `["debug","info","warning"]` {
		t.Errorf("%s, %v", got, err)
	}
}
