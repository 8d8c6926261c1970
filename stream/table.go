package stream

import (
	"fmt"
	"strings"

	"ostree-push/ostree"
)

// Side is one of the two that talk.
type Side string

// The sides.
const (
	Pusher   Side = "pusher"
	Receiver Side = "receiver"
)

// use says how often a frame comes, and when.
type use int

const (
	once    use = iota // one frame, after those that the table has
	series             // after those as well: any number, and an empty one that ends them
	anytime            // whenever its side likes
	final              // likewise, and it is the last frame of its side
)

// row says of a frame who may send it, and when. docs/protocol.md has the same table.
type row struct {
	kind Kind
	name string // of the type of its messages
	from Side
	use  use
	// after has the letters of the frames of the same side, each with the end of its series, one of
	// which it has to follow; "": it is the first. Frames for any time do not count.
	after  string
	most   limit // of a series
	decode func(*decoder) Message
}

// limit is how many items of what the frames of a series may have.
type limit struct {
	n  int
	of string
}

// frames is the table of all frames.
var frames = []row{
	{'H', "Hello", Receiver, once, "", limit{}, decodeHello},
	{'O', "Offer", Pusher, series, "", limit{MaxRefs, "refs"}, decodeOffer},
	{'S', "State", Receiver, series, "H", limit{MaxRefs, "refs"}, decodeState},
	{'C', "Commit", Pusher, series, "O", limit{MaxRefs, "commits"}, decodeCommit},
	{'W', "Wanted", Receiver, series, "S", limit{MaxRefs, "commits"}, decodeWanted},
	{'L', "List", Pusher, series, "C", limit{MaxObjects, "objects"}, decodeList},
	{'M', "Missing", Receiver, series, "W", limit{MaxObjects, "objects"}, decodeMissing},
	{'P', "Partial", Receiver, series, "M", limit{MaxPartial, "objects"}, decodePartial},
	{'D', "Data", Pusher, series, "LJD", limit{MaxObjects, "pieces"}, decodeData},
	{'A', "Ask", Receiver, series, "PA", limit{MaxObjects, "objects"}, decodeAsk},
	{'B', "Busy", Pusher, anytime, "", limit{}, decodeBusy},
	{'F', "Failure", Pusher, final, "", limit{}, decodeFailure},
	{'E', "Event", Receiver, anytime, "", limit{}, decodeEvent},
	{'R', "Result", Receiver, final, "", limit{}, decodeResult},
	{'J', "Join", Pusher, once, "", limit{}, decodeJoin},
	{'G', "Go", Receiver, once, "", limit{}, decodeGo},
}

// rowOf returns the row of a frame, nil if there is none.
func rowOf(kind Kind) *row {
	for i := range frames {
		if frames[i].kind == kind {
			return &frames[i]
		}
	}
	return nil
}

// maxPayload returns the size of the largest payload of a frame, in bytes.
func maxPayload(kind Kind) int64 {
	if kind == (Commit{}).Kind() {
		return 2*ostree.MaxMetadataSize + 1024
	}
	return MaxPayload
}

// decode returns the message that a frame of the table is.
func decode(kind Kind, payload []byte) (Message, error) {
	row := rowOf(kind)
	if row.use == series && len(payload) == 0 {
		return End{kind}, nil
	}
	d := &decoder{p: payload}
	m := row.decode(d)
	if err := d.end(); err != nil {
		return nil, protocolError("a frame %v: %v", kind, err)
	}
	return m, nil
}

// course is how far one side of a talk has come, as the other one reads it.
type course struct {
	reader Side // who reads
	last   Kind // frame that was not for any time; 0: none
	open   bool // its series has not ended
	items  int  // in that
	ended  Kind // the final frame; 0: it has not been
}

// admit returns an error if that frame may not come now.
func (c *course) admit(kind Kind) error {
	row := rowOf(kind)
	switch {
	case row == nil:
		return protocolError("a frame %v, which is none", kind)
	case row.from == c.reader:
		return protocolError("a frame %v, which only a %s may send", kind, row.from)
	case c.ended != 0:
		return protocolError("a frame %v after %v, which is the last", kind, c.ended)
	case row.use == final:
		c.ended = kind
	case row.use != anytime && !c.due(row):
		return protocolError("a frame %v instead of %s", kind, c.expected())
	case row.use != anytime && !c.open:
		c.last, c.items, c.open = kind, 0, row.use == series
	}
	return nil
}

// due reports whether a frame of the other side, not one for any time, may come now.
func (c *course) due(row *row) bool {
	switch {
	case row.from == c.reader || row.use == anytime || row.use == final:
		return false
	case c.open:
		return row.kind == c.last
	case c.last == 0:
		return row.after == ""
	}
	return strings.IndexByte(row.after, byte(c.last)) >= 0
}

// expected says which frames are due.
func (c *course) expected() string {
	var due []string
	for i := range frames {
		if c.due(&frames[i]) {
			due = append(due, frames[i].kind.String())
		}
	}
	if len(due) == 0 {
		return fmt.Sprintf("none after %v", c.last)
	}
	return strings.Join(due, " or ")
}

// count notes what a series has brought.
func (c *course) count(m Message) error {
	row := rowOf(m.Kind())
	if row.use != series {
		return nil
	}
	if _, ends := m.(End); ends {
		c.open = false
		return nil
	}
	n := 1
	if list, ok := m.(interface{ count() int }); ok {
		n = list.count()
	}
	if c.items += n; c.items > row.most.n {
		return protocolError("frames %v: more than %d %s", row.kind, row.most.n, row.most.of)
	}
	return nil
}
