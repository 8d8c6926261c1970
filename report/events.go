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

// event is one event; exactly one of the fields is set.
type event struct {
	Log      *logLine  `json:"log,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
	Ref      *Ref      `json:"result,omitempty"`
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
	mu    sync.Mutex
	w     io.Writer
}

// NewEvents returns a Sink that writes to w, of log lines those that are at
// least level.
func NewEvents(w io.Writer, level Level) *Events { return &Events{w: w, level: level} }

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

// Decode hands the event in line, if it is one, to sink. Anything else is the
// remote program's own output.
func Decode(line []byte, sink Sink) bool {
	if !bytes.HasPrefix(line, []byte(eventPrefix)) {
		return false
	}
	var ev event
	if err := json.Unmarshal(line, &ev); err != nil {
		return false
	}
	switch {
	case ev.Log != nil:
		sink.Log(ev.Log.Level, ev.Log.Text)
	case ev.Progress != nil:
		sink.Progress(*ev.Progress)
	case ev.Ref != nil:
		sink.Ref(*ev.Ref)
	}
	return true
}
