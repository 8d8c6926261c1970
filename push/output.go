package push

import (
	"bytes"
	"io"
	"sync"

	"ostree-push/report"
)

// maxLine bounds what is kept of a line that might be an event.
const maxLine = 1 << 20

// lineWriter splits a receiver's standard output into events, for listener, and
// the rest.
type lineWriter struct {
	listener report.Listener
	event    func() // is called for each event
	rest     io.Writer
	line     []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.line = append(l.line, p...)
	for {
		line, after, ok := bytes.Cut(l.line, []byte("\n"))
		if !ok {
			break
		}
		if report.Decode(line, l.listener) {
			l.event()
		} else {
			l.rest.Write(l.line[:len(line)+1])
		}
		l.line = after
	}
	if len(l.line) > maxLine {
		l.flush()
	}
	return len(p), nil
}

// flush passes on what is left of a line without an end.
func (l *lineWriter) flush() {
	if len(l.line) > 0 {
		l.rest.Write(l.line)
		l.line = nil
	}
}

// holder keeps output back until it is released or dropped.
type holder struct {
	mu       sync.Mutex
	released bool
	held     []func()
	size     int
}

// maxHeld bounds what is kept back.
const maxHeld = 64 << 10

// writer returns a writer to w that is held back.
func (h *holder) writer(w io.Writer) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.released {
			return w.Write(p)
		}
		kept := bytes.Clone(p)
		h.held = append(h.held, func() { w.Write(kept) })
		if h.size += len(p); h.size > maxHeld {
			h.releaseLocked()
		}
		return len(p), nil
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (h *holder) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.releaseLocked()
}

func (h *holder) releaseLocked() {
	h.released = true
	for _, write := range h.held {
		write()
	}
	h.held = nil
}

func (h *holder) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = nil
}
