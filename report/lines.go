package report

import (
	"bytes"
	"slices"
	"strings"
	"sync"
)

// maxLine bounds what is kept of a line that does not end.
const maxLine = 64 << 10

// Lines is a writer that hands on what is written to it, line by line. It may be
// used from several goroutines.
type Lines struct {
	mu   sync.Mutex
	each func(line string)
	rest []byte
}

// NewLines returns a writer that hands each line to each, without its end.
func NewLines(each func(line string)) *Lines { return &Lines{each: each} }

func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		line, after, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			break
		}
		l.say(line)
		l.rest = after
	}
	if len(l.rest) > maxLine {
		l.flush()
	}
	return len(p), nil
}

// Flush hands on what is left of a line without an end.
func (l *Lines) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
}

func (l *Lines) flush() {
	if len(l.rest) > 0 {
		l.say(l.rest)
	}
	l.rest = nil
}

func (l *Lines) say(line []byte) { l.each(strings.TrimRight(string(line), "\r")) }

const (
	// tailLines is how many lines a Tail keeps, and tailLine how much of each.
	tailLines = 5
	tailLine  = 500
)

// Tail is a writer that keeps the last lines of what a program prints, to say them
// where it fails.
type Tail struct {
	lines *Lines
	kept  []string
}

// NewTail returns an empty Tail.
func NewTail() *Tail {
	t := &Tail{}
	t.lines = NewLines(func(line string) {
		if line = strings.TrimSpace(line); line == "" {
			return
		}
		t.kept = append(t.kept, Printable(Shortened(line, tailLine)))
		t.kept = t.kept[max(0, len(t.kept)-tailLines):]
	})
	return t
}

func (t *Tail) Write(p []byte) (int, error) { return t.lines.Write(p) }

// Lines returns the last lines, without those that are empty. Nothing is to be written after
// that.
func (t *Tail) Lines() []string {
	t.lines.Flush()
	return slices.Clone(t.kept)
}
