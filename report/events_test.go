package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// record is a Sink that writes down what it is told.
type record []string

func (r *record) Log(level Level, text string) {
	*r = append(*r, fmt.Sprintf("log %v %q", level, text))
}
func (r *record) Progress(p Progress) { *r = append(*r, fmt.Sprintf("progress %+v", p)) }
func (r *record) Ref(ref Ref)         { *r = append(*r, fmt.Sprintf("ref %+v", ref)) }
func (r *record) Ended(e Ended)       { *r = append(*r, fmt.Sprintf("ended %+v", e)) }

// TestEvents says everything to a receiver's Sink, and reads it as a pusher.
func TestEvents(t *testing.T) {
	say := func(s Listener) {
		s.Log(Debug, "one\ntwo \x1b")
		s.Log(Warning, "warned")
		s.Progress(Progress{Phase: "Receiving objects", Done: 1, Total: 2, Bytes: 3})
		s.Ref(Ref{Ref: "main", Status: Forced, Old: sumA, New: sumB, Received: sumC, Reason: "r"})
		s.Ended(Ended{Error: "why\n\x1b", Hints: []string{"one", "two"}, Moved: true})
	}
	var want, got record
	say(&want)
	var wire bytes.Buffer
	events := NewEvents(&wire, Debug)
	events.Alive() // says nothing else
	say(events)
	for line := range strings.Lines(wire.String()) {
		if !Decode([]byte(strings.TrimSuffix(line, "\n")), &got) {
			t.Errorf("not an event: %q", line)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNotEvents(t *testing.T) {
	for _, line := range []string{
		"", "{}", "some text", `{"log":{"level":"info","text":"x"}}`, ` {"ostree-push":1,"log":{}}`,
		`{"ostree-push":2,"log":{"level":"info","text":"x"}}`, `{"ostree-push":1,`, `{"ostree-push":1,"log":7}`,
	} {
		var got record
		if Decode([]byte(line), &got) || len(got) > 0 {
			t.Errorf("taken for an event: %q (%q)", line, got)
		}
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	err := Result{Destination: "host:repo", DryRun: true, Totals: Totals{Objects: 1, Bytes: 2, Seconds: 3}, Moved: MovedNo}.WriteJSON(&out)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	json.Unmarshal([]byte(`{"destination": "host:repo", "dry_run": true, "refs": [], "objects": 1, "bytes": 2, "seconds": 3, "refs_moved": "no"}`), &want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
