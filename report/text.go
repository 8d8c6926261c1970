package report

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// lineInterval is how often progress makes a line where there is no terminal.
const lineInterval = 3 * time.Second

// Text writes for people: log lines as they come, progress as a bar on a
// terminal and as a line every few seconds elsewhere.
type Text struct {
	name  string // of the program
	level Level  // the least that is shown; progress and results are Info

	mu       sync.Mutex
	w        io.Writer
	terminal bool
	bar      *progressbar.ProgressBar
	phase    string
	nextLine time.Time
	refs     []Ref
}

// NewText returns a Text that writes to w, showing what is at least level.
func NewText(w io.Writer, name string, level Level) *Text {
	file, ok := w.(*os.File)
	return &Text{
		name: name, level: level, w: w,
		terminal: ok && term.IsTerminal(int(file.Fd())),
		nextLine: time.Now().Add(lineInterval),
	}
}

// Log writes a line, if it is important enough.
func (t *Text) Log(level Level, text string) {
	if level < t.level {
		return
	}
	prefix := t.name + ": "
	if level == Warning {
		prefix += "warning: "
	}
	t.Println(prefix + Printable(text))
}

// Println writes a line as it is, above the bar.
func (t *Text) Println(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clearBar()
	fmt.Fprintln(t.w, line)
}

// Write writes another program's output, above the bar.
func (t *Text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clearBar()
	return t.w.Write(p)
}

// Ref keeps a result for Refs.
func (t *Text) Ref(r Ref) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refs = append(t.refs, r)
}

// Refs returns the results so far.
func (t *Text) Refs() []Ref {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refs
}

// Progress shows how far things are.
func (t *Text) Progress(p Progress) {
	if t.level > Info {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.terminal {
		t.drawBar(p)
		return
	}
	if now := time.Now(); now.After(t.nextLine) {
		t.nextLine = now.Add(lineInterval)
		fmt.Fprintf(t.w, "%s: %s\n", Printable(p.Phase), p.counts())
	}
}

func (p Progress) counts() string {
	counts := humanize.IBytes(uint64(max(p.Bytes, 0)))
	if p.Total > 0 {
		counts = fmt.Sprintf("%d/%d, %s", p.Done, p.Total, counts)
	}
	return counts
}

func (t *Text) drawBar(p Progress) {
	if t.bar == nil || t.phase != p.Phase {
		t.clearBar()
		t.phase = p.Phase
		t.bar = progressbar.NewOptions(barSteps,
			progressbar.OptionSetWriter(t.w),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionSetWidth(30),
			progressbar.OptionClearOnFinish(),
		)
	}
	t.bar.Describe(fmt.Sprintf("%s: %s", Printable(p.Phase), p.counts()))
	// A bar that reaches its end finishes, but the total may still grow.
	t.bar.Set(min(barSteps*p.Done/max(p.Total, 1), barSteps-1))
}

// barSteps is the length of the bar: a fixed one, as changing it makes the bar
// show a time that it guesses.
const barSteps = 1000

func (t *Text) clearBar() {
	if t.bar != nil {
		t.bar.Clear()
		t.bar = nil
	}
}

// Finish removes the bar and shows the result.
func (t *Text) Finish(r Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clearBar()
	if t.level > Info {
		return
	}
	fmt.Fprintf(t.w, "To %s\n", Printable(r.Destination))
	for _, line := range r.lines(t.level) {
		fmt.Fprintln(t.w, line)
	}
	if r.DryRun {
		fmt.Fprintln(t.w, "dry run: nothing was changed")
	}
	fmt.Fprintln(t.w, r.Totals)
}

const upToDate = "[up to date]"

// lines has a line for each ref. Those that have not changed are only counted, if there are
// several, and nobody wants to know more.
func (r Result) lines(level Level) (lines []string) {
	var unchanged []string
	for _, ref := range r.Refs {
		if ref.Status == UpToDate && level > Debug {
			unchanged = append(unchanged, ref.line())
			continue
		}
		lines = append(lines, ref.line())
	}
	if len(unchanged) > 1 {
		unchanged = []string{fmt.Sprintf(" = %-22s %d refs", upToDate, len(unchanged))}
	}
	return append(lines, unchanged...)
}

// line has the columns of git push: a flag, what happened, the ref, why.
func (r Ref) line() string {
	flag, what := " ", short(r.Old)+".."+short(r.New)
	switch r.Status {
	case New:
		flag, what = "*", "[new ref]"
	case Forced:
		flag, what = "+", short(r.Old)+"..."+short(r.New)
	case UpToDate:
		flag, what = "=", upToDate
	case Rejected:
		flag, what = "!", "[rejected]"
	case Offered:
		flag, what = "?", "[offered]"
	case Updated:
		if r.New == "" { // a dry run does not write the commit
			what = short(r.Old) + "..[" + short(r.Received) + "]"
		}
	}
	line := fmt.Sprintf(" %s %-22s %s", flag, what, Printable(string(r.Ref)))
	if r.Reason != "" {
		line += " (" + Printable(r.Reason) + ")"
	}
	return line
}

func short(sum string) string {
	const digits = 10
	if len(sum) > digits {
		sum = sum[:digits]
	}
	return Printable(sum)
}

// String reads like "120 objects, 1.2 MiB in 0.3 s (4.0 MiB/s)".
func (t Totals) String() string {
	s := fmt.Sprintf("%d objects, %s in %.1f s", t.Objects, humanize.IBytes(uint64(max(t.Bytes, 0))), t.Seconds)
	if t.Seconds > 0 && t.Bytes > 0 {
		s += fmt.Sprintf(" (%s/s)", humanize.IBytes(uint64(float64(t.Bytes)/t.Seconds)))
	}
	return s
}

// Shows reports whether lines of that level are shown.
func (t *Text) Shows(level Level) bool { return level >= t.level }
