package e2e

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"ostree-push/ostree"
	"ostree-push/stream"
)

// TestRogueLeftovers has a pusher leave a part of a file that is none, without its front, so that it is not found out. Whoever pushes the
// file next is not to blame for that, whatever of it fits to what it sends, and succeeds.
func TestRogueLeftovers(t *testing.T) {
	t.Parallel()
	const k = 1 << 10
	s := newLyingSource(t)
	for _, test := range []struct {
		name string
		// send sends the file the first time.
		send func(p *rogue, file ostree.ObjectName) error
		asks bool // for it once more
	}{
		{"an object of one piece", func(p *rogue, file ostree.ObjectName) error { return p.put(file, p.bodies[file]) }, false},
		{"pieces of another form", func(p *rogue, file ostree.ObjectName) error {
			other := stream.Form{2}
			return errors.Join(p.putPiece(other, file, 0, 128*k, false), p.putPiece(other, file, 128*k, len(p.bodies[file]), true))
		}, false},
		{"an end before the part", func(p *rogue, file ostree.ObjectName) error {
			return errors.Join(p.putPiece(form, file, 0, 64*k, false), p.putPiece(form, file, 64*k, len(p.bodies[file]), true))
		}, true},
		{"a piece that overlaps it", func(p *rogue, file ostree.ObjectName) error {
			return p.putPiece(form, file, 64*k, 128*k, false)
		}, true},
		{"pieces of two forms", func(p *rogue, file ostree.ObjectName) error {
			return errors.Join(p.putPiece(form, file, 0, 64*k, false), p.putPiece(stream.Form{2}, file, 64*k, 128*k, false))
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v := newVictim(t)
			p, wait := newRogue(t, s, v)
			file := p.entries[0]
			p.bodies[file] = bytes.Repeat([]byte{1}, 6<<20)
			err := errors.Join(p.start(), p.list(), p.putPiece(form, file, 64*k, 6<<20, false), p.conn.Flush())
			p.stdin.Close()
			if stderr, _ := wait(); err != nil {
				t.Fatalf("%v\n%s", err, stderr)
			}

			p, wait = newRogue(t, s, v)
			kill := time.AfterFunc(time.Minute, func() { p.stdin.Close() })
			defer kill.Stop()
			err = errors.Join(p.start(), p.list(), test.send(p, file))
			for _, e := range p.entries[1:] {
				err = errors.Join(err, p.put(e, p.bodies[e]))
			}
			err = errors.Join(err, p.conn.End(stream.Data{}))
			if test.asks {
				err = errors.Join(err, p.skip(stream.Ask{}), p.put(file, p.bodies[file]), p.conn.End(stream.Data{}))
			}
			p.stdin.Close()
			if stderr, waitErr := wait(); err != nil || waitErr != nil {
				t.Errorf("%v, %v\n%s", err, waitErr, stderr)
			}
			output(t, "ostree", "--repo="+v.dir, "fsck", "-q")
		})
	}
}
