package push

import (
	"sync"

	"ostree-push/report"
)

// listener gets the events of a receiver. It keeps what matters when the receiver has ended, and
// hands all but the last event on.
type listener struct {
	report.Sink
	mu     sync.Mutex
	events bool          // any have come
	moved  bool          // one of them said that a ref has moved
	ended  *report.Ended // how the receiver ended; nil: it has not said
}

func (l *listener) note(f func()) report.Sink {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = true
	f()
	return l.Sink
}

func (l *listener) Log(level report.Level, text string) { l.note(func() {}).Log(level, text) }
func (l *listener) Progress(p report.Progress)          { l.note(func() {}).Progress(p) }
func (l *listener) Ref(r report.Ref)                    { l.note(func() { l.moved = l.moved || r.Moved() }).Ref(r) }
func (l *listener) Ended(e report.Ended)                { l.note(func() { l.ended = &e }) }

// end returns how the receiver ended, if it has said that.
func (l *listener) end() *report.Ended {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// anything reports whether any event has come.
func (l *listener) anything() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events
}

// refMoved reports whether a ref has moved, by what the receiver said of refs.
func (l *listener) refMoved() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moved
}
