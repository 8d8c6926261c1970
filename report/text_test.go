package report

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	sumA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	sumB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	sumC = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

// TestResultText has a line for every status.
func TestResultText(t *testing.T) {
	var out strings.Builder
	text := NewText(&out, "prog", Info)
	text.Finish(Result{
		Destination: "host:\x1b[31mrepo",
		Refs: []Ref{
			{Ref: "new", Status: New, New: sumA},
			{Ref: "updated", Status: Updated, Old: sumA, New: sumB, Received: sumC},
			{Ref: "dry", Status: Updated, Old: sumA, Received: sumC},
			{Ref: "forced", Status: Forced, Old: sumA, New: sumB, Reason: "not newer"},
			{Ref: "same", Status: UpToDate, Old: sumA, New: sumA},
			{Ref: "same too", Status: UpToDate, Old: sumB, New: sumB},
			{Ref: "refused", Status: Rejected, Reason: "not\nnewer"},
			{Ref: "theirs", Status: Offered},
		},
		Totals: Totals{Objects: 12, Bytes: 3 << 20, Seconds: 1.5},
	})
	want := `To host:\x1b[31mrepo
 * [new ref]              new
   aaaaaaaaaa..bbbbbbbbbb updated
   aaaaaaaaaa..[cccccccccc] dry
 + aaaaaaaaaa...bbbbbbbbbb forced (not newer)
 ! [rejected]             refused (not\nnewer)
 ? [offered]              theirs
 = [up to date]           2 refs
12 objects, 3.0 MiB in 1.5 s (2.0 MiB/s)
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLevels(t *testing.T) {
	for level, want := range map[Level]string{
		Debug:   "prog: d\nprog: i\nprog: warning: w\nTo \n0 objects, 0 B in 0.0 s\n",
		Info:    "prog: i\nprog: warning: w\nTo \n0 objects, 0 B in 0.0 s\n",
		Warning: "prog: warning: w\n",
	} {
		var out strings.Builder
		text := NewText(&out, "prog", level)
		text.Log(Debug, "d")
		text.Log(Info, "i")
		text.Log(Warning, "w")
		text.Finish(Result{})
		if out.String() != want {
			t.Errorf("%v: %q, want %q", level, out.String(), want)
		}
	}
}

func TestLogIsPrintable(t *testing.T) {
	var out strings.Builder
	NewText(&out, "prog", Info).Log(Info, "ref \x1b]0;title\x07 \u202e ü")
	if want := "prog: ref \\x1b]0;title\\a \\u202e ü\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
