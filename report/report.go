// Package report is what the two ends of a push say about it: what became of
// every ref, how far the transfer is, and log lines. Text has it for people, in
// the style of git push; JSON for scripts; and Events is the form in which a
// receiver hands it to the pusher.
package report

import (
	"slices"

	"ostree-push/ostree"
)

// Level is how important a log line is.
type Level int

const (
	Debug Level = iota
	Info
	Warning
	Error
)

var levelNames = [...]string{Debug: "debug", Info: "info", Warning: "warning", Error: "error"}

func (l Level) String() string { return levelNames[l] }

// MarshalText and UnmarshalText give a level its name in JSON.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

func (l *Level) UnmarshalText(text []byte) error {
	*l = Info
	for i, name := range levelNames {
		if name == string(text) {
			*l = Level(i)
		}
	}
	return nil
}

// Status is what became of a ref.
type Status string

const (
	New      Status = "new"        // the repository did not have the ref
	Updated  Status = "updated"    // the ref moved
	Forced   Status = "forced"     // the ref moved although it should not have
	UpToDate Status = "up-to-date" // the ref has what was pushed already
	Rejected Status = "rejected"   // the ref was left alone; Reason says why
	Offered  Status = "offered"    // the receiver does not say
)

// Ref is the result of one ref. Old and New are its commits before and after:
// a receiver writes the commit it got, Received, anew, so New is another one.
type Ref struct {
	Ref      ostree.Ref `json:"ref"`
	Status   Status     `json:"status"`
	Old      string     `json:"old,omitempty"`
	New      string     `json:"new,omitempty"`
	Received string     `json:"received,omitempty"`
	Reason   string     `json:"reason,omitempty"`
}

// The phases of a push, as a receiver names them.
const (
	Receiving = "Receiving objects"
	Checking  = "Checking what has arrived"
	Waiting   = "Waiting for the repository's lock"
	Importing = "Importing objects"
	Updating  = "Updating the metadata"
	Hook      = "Waiting for the update hook"
)

// Progress is how far one phase of a push is. Of some phases nothing is known but that they are under way.
type Progress struct {
	Phase string `json:"phase"` // such as Receiving
	Done  int    `json:"done"`  // objects
	Total int    `json:"total"` // objects known so far; 0 if nothing is known
	Bytes int64  `json:"bytes"` // moved
	// Size is how many bytes there are in all, 0 if that is not known, and About says that it may be another number. The receiver does
	// not say: only the pusher knows.
	Size  int64 `json:"-"`
	About bool  `json:"-"`
}

// Sink takes what is said. Its methods may be called from several goroutines.
type Sink interface {
	Log(level Level, text string)
	Progress(p Progress)
	Ref(r Ref)
}

// Totals is what a push moved.
type Totals struct {
	Objects int     `json:"objects"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

// Moved says whether refs of the repository have moved.
type Moved string

const (
	MovedYes     Moved = "yes"
	MovedNo      Moved = "no"
	MovedUnknown Moved = "unknown" // nobody has said, and they may have
)

// Result is everything about a push that has ended.
type Result struct {
	Destination string `json:"destination"`
	DryRun      bool   `json:"dry_run"`
	Refs        []Ref  `json:"refs"`
	Totals
	Moved Moved  `json:"refs_moved"`
	Error string `json:"error,omitempty"`
}

// Moved reports whether the ref shows another commit than before.
func (r Ref) Moved() bool { return r.New != "" && r.New != r.Old }

// Rejected reports whether there is a ref that was left alone although its commit is
// another one.
func (r Result) Rejected() bool {
	return slices.ContainsFunc(r.Refs, func(ref Ref) bool { return ref.Status == Rejected })
}

// Ended is how a receiver says that it has ended: the last that a pusher of ours hears
// from it.
type Ended struct {
	Error string   `json:"error,omitempty"` // "": all went well
	Hints []string `json:"hints,omitempty"` // what to do about it
	Moved bool     `json:"moved,omitempty"` // refs have moved
}
