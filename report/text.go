package report

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"
)

// lineInterval is how often progress makes a line where there is no terminal.
const lineInterval = 3 * time.Second

// Text writes for people: log lines as they come, progress as a line that changes in its place
// on a terminal, and as a line every few seconds elsewhere.
type Text struct {
	name  string // of the program
	level Level  // the least that is shown; progress and results are Info

	mu       sync.Mutex
	w        io.Writer
	terminal func() (width int) // of the one that w is; nil: it is none
	live     live               // if it is one
	timer    *time.Timer        // until that is drawn; nil: it is not
	nextLine time.Time
	refs     []Ref
}

// NewText returns a Text that writes to w, showing what is at least level.
func NewText(w io.Writer, name string, level Level) *Text {
	t := &Text{name: name, level: level, w: w, nextLine: time.Now().Add(lineInterval)}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		t.terminal = func() int { return widthOf(file) }
	}
	return t
}

// widthOf returns how wide a terminal is.
func widthOf(terminal *os.File) int {
	const usual = 80
	if width, _, err := term.GetSize(int(terminal.Fd())); err == nil && width > 0 {
		return width
	}
	return usual
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

// Println writes a line as it is, where the live one was.
func (t *Text) Println(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
	fmt.Fprintln(t.w, line)
}

// Write writes another program's output, where the live line was.
func (t *Text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
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
	now := time.Now()
	if t.terminal != nil {
		t.live.follow(p, now)
		if t.timer == nil {
			t.drawAfter(moment)
		}
		return
	}
	if counts := p.counts(); counts != "" && now.After(t.nextLine) {
		t.nextLine = now.Add(lineInterval)
		fmt.Fprintf(t.w, "%s: %s\n", Printable(p.Phase), counts)
	}
}

// counts is "" for a phase of which nothing is known.
func (p Progress) counts() string {
	var counts []string
	if p.Total > 0 {
		counts = append(counts, fmt.Sprintf("%d/%d", p.Done, p.Total))
	}
	if p.Bytes > 0 {
		counts = append(counts, humanize.IBytes(uint64(p.Bytes)))
	}
	return strings.Join(counts, ", ")
}

// drawAfter draws the live line after a while, and then again and again, until it is erased.
func (t *Text) drawAfter(d time.Duration) {
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.timer == timer {
			t.rewrite(t.live.draw(time.Now(), t.terminal()))
			t.drawAfter(drawInterval)
		}
	})
	t.timer = timer
}

// erase removes the live line, until there is something new to be said of the progress.
func (t *Text) erase() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	t.rewrite(t.live.erase())
}

func (t *Text) rewrite(live string) {
	if live != "" {
		io.WriteString(t.w, live)
	}
}

// Finish removes the live line and shows the result.
func (t *Text) Finish(r Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
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

// Live reports whether progress shows as it goes, on a terminal.
func (t *Text) Live() bool { return t.terminal != nil && t.level <= Info }
