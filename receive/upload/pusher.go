package upload

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"ostree-push/internal/patience"
	"ostree-push/report"
	"ostree-push/stream"
)

// Pusher is the pusher at the other end of a stream.
type Pusher struct{ channel }

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
	p := &Pusher{channel{in, stream.New(stream.Receiver, in, stdout)}}
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
