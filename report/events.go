package report

import (
	"bytes"
	"encoding/json"
	"io"
	"sync"
)

// eventPrefix begins every line that is an event. The number is the version of
// the events: a reader takes lines of another version for plain output.
const eventPrefix = `{"ostree-push":1,`

// EventsPrefix begins the first segment of the path of a URL that is served by
// a pusher which reads a receiver's events from its standard output.
const EventsPrefix = "push-"

// event is one event; exactly one of the fields is set.
type event struct {
	Log      *logLine  `json:"log,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
	Ref      *Ref      `json:"result,omitempty"`
	Ended    *Ended    `json:"ended,omitempty"`
	Alive    bool      `json:"alive,omitempty"`
}

type logLine struct {
	Level Level  `json:"level"`
	Text  string `json:"text"`
}

// Events is a Sink that writes each event as a line of JSON. Errors of the
// writer are ignored: the receiver learns of a lost pusher in other ways, and
// by then the events matter to nobody.
type Events struct {
	level Level // the least of log lines
	mu    *sync.Mutex
	w     io.Writer
}

// NewEvents returns a Sink that writes to w, of log lines those that are at
// least level.
func NewEvents(w io.Writer, level Level) *Events {
	return &Events{w: w, level: level, mu: new(sync.Mutex)}
}

// AtLeast returns a Sink that writes to the same place, of log lines those that are at
// least level.
func (e *Events) AtLeast(level Level) *Events { return &Events{w: e.w, level: level, mu: e.mu} }

// Listener is a Sink that also hears how the receiver ended.
type Listener interface {
	Sink
	Ended(Ended)
}

func (e *Events) write(ev event) {
	line, err := json.Marshal(ev)
	if err != nil {
		return // strings and numbers always marshal
	}
	line = append([]byte(eventPrefix), line[1:]...)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.w.Write(append(line, '\n'))
}

func (e *Events) Log(level Level, text string) {
	if level >= e.level {
		e.write(event{Log: &logLine{level, text}})
	}
}

func (e *Events) Progress(p Progress) { e.write(event{Progress: &p}) }
func (e *Events) Ref(r Ref)           { e.write(event{Ref: &r}) }

// Ended says how the receiver ended.
func (e *Events) Ended(end Ended) { e.write(event{Ended: &end}) }

// Alive says nothing but that the receiver still runs.
func (e *Events) Alive() { e.write(event{Alive: true}) }

// Decode hands the event in line, if it is one, to listener. Anything else is the
// remote program's own output.
func Decode(line []byte, listener Listener) bool {
	if !bytes.HasPrefix(line, []byte(eventPrefix)) {
		return false
	}
	var ev event
	if err := json.Unmarshal(line, &ev); err != nil {
		return false
	}
	switch {
	case ev.Log != nil:
		listener.Log(ev.Log.Level, ev.Log.Text)
	case ev.Progress != nil:
		listener.Progress(*ev.Progress)
	case ev.Ref != nil:
		listener.Ref(*ev.Ref)
	case ev.Ended != nil:
		listener.Ended(*ev.Ended)
	}
	return true
}
