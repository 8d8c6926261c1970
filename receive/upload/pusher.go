package upload

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"ostree-push/internal/patience"
	"ostree-push/ostree"
	"ostree-push/report"
	"ostree-push/stream"
)

// Pusher is the pusher at the other end of a stream.
type Pusher struct {
	channel

	offered  stream.Offer // what it offers; nil: it has not been read
	offerErr error

	current ostree.Refs // of which it has been told that they are up to date
}

// channel is one on which a pusher sends.
type channel struct {
	in   *patience.Reader
	conn *stream.Conn
}

// Read reads a message other than that the pusher is busy, which only gives it more time.
func (c *channel) Read() (stream.Message, error) {
	for {
		m, err := c.conn.Read()
		if _, busy := m.(stream.Busy); err != nil || !busy {
			return m, err
		}
		c.in.Expect()
	}
}

// firstTimeout is how long a pusher is waited for until a Source has been opened.
const firstTimeout = time.Minute

// Greet greets a pusher on standard input and output. When ctx ends, so does reading, with its cause.
func Greet(ctx context.Context, stdin *os.File, stdout io.Writer) (*Pusher, error) {
	in := patience.NewReader(ctx, stdin, firstTimeout)
	p := &Pusher{channel: channel{in, stream.New(stream.Receiver, in, stdout)}}
	if err := p.conn.Greet(); err != nil {
		return nil, fmt.Errorf("greet the pusher: %w", err)
	}
	return p, nil
}

// Read reads a message, for which the pusher has the time of the timeout.
func (p *Pusher) Read() (stream.Message, error) {
	p.in.Expect()
	return p.channel.Read()
}

// Events returns what report.NewEvents can write to: each line goes out as a frame.
func (p *Pusher) Events() io.Writer { return eventFrames{p.conn} }

type eventFrames struct{ conn *stream.Conn }

func (e eventFrames) Write(line []byte) (int, error) {
	return len(line), e.conn.Send(stream.Event(line))
}

// Sink returns a Sink that tells the pusher what happens, through another one, but for what it has been told already: which refs are up
// to date.
func (p *Pusher) Sink(events report.Sink) report.Sink { return &pusherSink{events, p} }

type pusherSink struct {
	report.Sink
	p *Pusher
}

// Ref takes the result of a ref.
func (s *pusherSink) Ref(r report.Ref) {
	if _, told := s.p.current[r.Ref]; !told || r.Status != report.UpToDate {
		s.Sink.Ref(r)
	}
}

// tells notes that the pusher is told which refs are up to date.
func (p *Pusher) tells(current ostree.Refs) { p.current = current }

// offer reads which refs the pusher offers, if that has not been read yet.
func (p *Pusher) offer() (stream.Offer, error) {
	if p.offered != nil || p.offerErr != nil {
		return p.offered, p.offerErr
	}
	offered := stream.Offer{}
	for {
		part, more, err := stream.Next[stream.Offer](p)
		if err != nil {
			p.offerErr = fmt.Errorf("refs of the pusher: %w", err)
			return nil, p.offerErr
		}
		if !more {
			p.offered = offered
			return offered, nil
		}
		offered = append(offered, part...)
	}
}

// askedTime is how long a pusher that is not served is waited for to say what it wants to push.
const askedTime = 5 * time.Second

// Asked returns the refs that the pusher offers. If nobody has read that, since it is not served, it has a moment to say so. None are
// returned if it has not.
func (p *Pusher) Asked(ctx context.Context) []string {
	if p.offered == nil && p.offerErr == nil {
		ctx, cancel := context.WithTimeout(ctx, askedTime)
		defer cancel()
		p.in.SetContext(ctx)
		p.offer()
	}
	var refs []string
	for _, o := range p.offered {
		refs = append(refs, string(o.Ref))
	}
	return refs
}

// End tells the pusher how the receive ended.
func (p *Pusher) End(end report.Ended) error { return p.conn.Send(stream.Result(end)) }

// Secret reads the secret of the receive that this session is to join. It is stream.ErrEnded if the pusher is done without
// it.
func (p *Pusher) Secret() (string, error) {
	request, _, err := stream.Next[stream.Join](p)
	return request.Secret, err
}

// Joined tells the pusher that this session has joined its receive.
func (p *Pusher) Joined() error { return p.conn.Send(stream.Go{}) }
