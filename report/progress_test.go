package report

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"sync"
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
		text.nextLine = time.Now().Add(-time.Second)
		text.Progress(Progress{Phase: Updating}) // of which nothing is known
		if out.String() != want {
			t.Errorf("%v: %q, want %q", level, out.String(), want)
		}
	}
}

// drawn returns what a terminal shows of progress, which comes in steps, after the last one.
func drawn(width int, steps ...step) string {
	var l live
	now := time.Unix(1_700_000_000, 0)
	for _, s := range steps {
		now = now.Add(s.after)
		if s.Phase != "" {
			l.follow(s.Progress, now)
		}
	}
	return strings.TrimPrefix(l.draw(now, width), "\r")
}

type step struct {
	after time.Duration
	Progress
}

// On a terminal it is one line, whatever numbers the other end says.
func TestProgressLive(t *testing.T) {
	const mib = 1 << 20
	receiving := func(done, total int, bytes, size int64) Progress {
		return Progress{Phase: Receiving, Done: done, Total: total, Bytes: bytes, Size: size}
	}
	about := func(p Progress) Progress {
		p.About = true
		return p
	}
	of := func(done, total int) Progress { return Progress{Phase: Importing, Done: done, Total: total} }
	for _, test := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"one large object", []step{{0, receiving(0, 3, 197*mib, 286*mib)}, {2 * time.Second, receiving(2, 3, 219*mib, 286*mib)}},
			"Receiving objects:  76% (219.0 of 286.0 MiB),  11.0 MiB/s, 7 s left"},
		{"the rate is that of the last seconds", []step{
			{0, receiving(0, 1, 0, 400*mib)}, {time.Second, receiving(0, 1, 100*mib, 400*mib)}, {5 * time.Second, receiving(0, 1, 105*mib, 400*mib)},
		}, "Receiving objects:  26% (105.0 of 400.0 MiB),   1.0 MiB/s, 5 min left"},
		{"no rate at first", []step{{0, receiving(0, 1, mib, 4*mib)}, {time.Second / 2, receiving(0, 1, 2*mib, 4*mib)}},
			"Receiving objects:  50% (2.0 of 4.0 MiB)"},
		{"nothing comes any more", []step{{0, receiving(0, 1, 0, 400*mib)}, {time.Second, receiving(0, 1, mib, 400*mib)}, {5 * time.Second, Progress{}}},
			"Receiving objects:   0% (  1.0 of 400.0 MiB), stalled"},
		{"all is there", []step{{0, receiving(0, 1, 0, 4*mib)}, {2 * time.Second, receiving(1, 1, 4*mib, 4*mib)}},
			"Receiving objects: 100% (4.0 of 4.0 MiB)"},
		{"the size is not certain", []step{{0, receiving(0, 1, 0, 0)}, {2 * time.Second, about(receiving(0, 1, 2*mib, 8*mib))}},
			"Receiving objects:  25% (  2.0 of about   8.0 MiB),   1.0 MiB/s, 6 s left"},
		{"more than the size that is not certain", []step{{0, receiving(0, 1, 0, 0)}, {2 * time.Second, about(receiving(0, 1, 9*mib, 8*mib))}},
			"Receiving objects:  99% (  9.0 of about   9.0 MiB)"},
		{"the size is not known", []step{{0, receiving(0, 300, 0, 0)}, {2 * time.Second, receiving(7, 300, 3*mib/2, 0)}},
			"Receiving objects:   7 of 300,   1.5 MiB, 768.0 KiB/s"},
		{"nothing but bytes is known", []step{{0, receiving(0, 0, 0, 0)}, {2 * time.Second, receiving(7, 0, 3*mib/2, 0)}},
			"Receiving objects:   1.5 MiB, 768.0 KiB/s"},
		{"objects are counted", []step{{0, of(0, 1000)}, {time.Second, of(450, 1000)}}, "Importing objects:  45% ( 450 of 1000)"},
		{"nothing is known", []step{{0, Progress{Phase: Updating}}, {time.Second, Progress{}}}, "Updating the metadata"},
		{"a phase that has only begun", []step{{0, of(0, 1000)}, {moment / 2, Progress{}}}, ""},
		{"one after another", []step{{0, of(0, 1000)}, {time.Second, Progress{Phase: Updating}}, {time.Second, Progress{}}}, "Updating the metadata"},
		{"they begin anew", []step{{0, receiving(0, 9, 8*mib, 8*mib)}, {2 * time.Second, receiving(0, 2, mib, 0)}}, "Receiving objects: 0 of 2,   1.0 MiB"},
		{"more than all", []step{{0, receiving(0, 0, 0, 0)}, {2 * time.Second, receiving(7, 2, 0, 0)}}, "Receiving objects: 100% (7 of 2)"},
		{"less than nothing", []step{{0, receiving(0, 0, 0, 0)}, {2 * time.Second, receiving(-1, -1, -1, -1)}}, "Receiving objects"},
		{"of nothing less", []step{{0, receiving(0, 0, 0, 0)}, {2 * time.Second, receiving(-1, 4, -1, 4*mib)}}, "Receiving objects:   0% (0.0 of 4.0 MiB)"},
		{"the most", []step{{0, receiving(0, 0, 0, 0)}, {2 * time.Second, receiving(1, 2, 1<<62, math.MaxInt64)}},
			"Receiving objects:  50% (4.0 of 8.0 EiB),   2.0 EiB/s, 2 s left"},
		{"what does something to a terminal", []step{{0, Progress{Phase: "\x1b[31m\n"}}, {time.Second, Progress{}}}, `\x1b[31m\n`},
	} {
		if got := drawn(80, test.steps...); got != test.want {
			t.Errorf("%s: %q, not %q", test.name, got, test.want)
		}
	}
	if got := drawn(20, step{0, of(0, 1000)}, step{time.Second, of(1, 1000)}); got != "Importing objects: " {
		t.Errorf("on a narrow terminal: %q", got)
	}
}

// While bytes come in, the line does not change its length in front of the time that is left.
func TestProgressLength(t *testing.T) {
	var l live
	now := time.Unix(1_700_000_000, 0)
	var lengths []int
	for i := range int64(1000) {
		now = now.Add(drawInterval)
		l.follow(Progress{Phase: Receiving, Total: 1, Bytes: i * i * 300, Size: 300_000_000}, now)
		if before, _, ok := strings.Cut(l.text(now), "/s, "); ok {
			lengths = append(lengths, len(before))
		}
	}
	if all := slices.Compact(slices.Clone(lengths)); len(lengths) < 900 || len(all) != 1 {
		t.Errorf("%d lines, of the lengths %v", len(lengths), all)
	}
}

// syncBuffer is a terminal.
type syncBuffer struct {
	mu    sync.Mutex
	shown strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shown.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shown.String()
}

// The line is drawn by itself, and goes before anything else is written. After that it does not come back but with news.
func TestProgressDrawn(t *testing.T) {
	out := &syncBuffer{}
	text := NewText(out, "prog", Info)
	text.terminal = func() int { return 80 }
	wait := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(out.String(), want); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%q does not have %q", out.String(), want)
			}
		}
	}
	text.Progress(Progress{Phase: Importing, Done: 10, Total: 20})
	wait("\rImporting objects:  50% (10 of 20)")
	text.Progress(Progress{Phase: Updating})
	wait("\rUpdating the metadata" + strings.Repeat(" ", len("Importing objects:  50% (10 of 20)")-len("Updating the metadata")))
	text.Println("line")
	erased := "\r" + strings.Repeat(" ", len("Updating the metadata")) + "\r"
	if !strings.HasSuffix(out.String(), erased+"line\n") {
		t.Errorf("the line is still there: %q", out.String())
	}
	if text.timer != nil {
		t.Error("it would be drawn again")
	}
	text.Progress(Progress{Phase: Updating})
	wait("line\n\rUpdating the metadata")
	text.Finish(Result{Destination: "host:repo"})
	if text.timer != nil || !strings.Contains(out.String(), erased+"To host:repo\n") {
		t.Errorf("the line is still there: %q", out.String())
	}
}

// A Meter says how far it is now and then, and when all is there.
func TestMeter(t *testing.T) {
	var got progressRecord
	m := NewMeter(&got, Importing, 1000)
	for range 1000 {
		m.Add(1, 2)
	}
	want := Progress{Phase: Importing, Done: 1000, Total: 1000, Bytes: 2000}
	if n := len(got); n < 2 || n > 100 || got[n-1] != want || m.Now() != want {
		t.Errorf("%d times, %+v", n, m.Now())
	}
}

type progressRecord []Progress

func (r *progressRecord) Log(Level, string)   {}
func (r *progressRecord) Progress(p Progress) { *r = append(*r, p) }
func (r *progressRecord) Ref(Ref)             {}

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
