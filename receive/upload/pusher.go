package upload

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"ostree-push/internal/patience"
	"ostree-push/report"
	"ostree-push/stream"
)

// Pusher is the pusher at the other end of a stream.
type Pusher struct {
	in   *patience.Reader
	conn *stream.Conn
}

// firstTimeout is how long a pusher is waited for until a Source has been opened.
const firstTimeout = time.Minute

// Greet greets a pusher on standard input and output. When ctx ends, so does reading, with its cause.
func Greet(ctx context.Context, stdin *os.File, stdout io.Writer) (*Pusher, error) {
	in := patience.NewReader(ctx, stdin, firstTimeout)
	p := &Pusher{in: in, conn: stream.New(in, stdout)}
	if err := p.conn.Greet(); err != nil {
		return nil, fmt.Errorf("greet the pusher: %w", err)
	}
	return p, nil
}

// read reads a frame of that kind, for which the pusher has the time of the timeout.
func (p *Pusher) read(kind stream.Kind) ([]byte, error) {
	p.in.Expect()
	return p.conn.ReadKind(kind)
}

// Events returns what report.NewEvents can write to: each line goes out as a frame.
func (p *Pusher) Events() io.Writer { return eventFrames{p.conn} }

type eventFrames struct{ conn *stream.Conn }

func (e eventFrames) Write(line []byte) (int, error) {
	return len(line), e.conn.Write(stream.Event, line)
}

// End tells the pusher how the receive ended.
func (p *Pusher) End(end report.Ended) error {
	payload, err := json.Marshal(end)
	if err != nil {
		return err
	}
	return p.conn.Write(stream.Result, payload)
}

// Secret reads the secret of the receive that this session is to join. It is stream.ErrEnded if the pusher is done without
// it.
func (p *Pusher) Secret() (string, error) {
	secret, err := p.read(stream.Join)
	return string(secret), err
}

// Joined tells the pusher that this session has joined its receive.
func (p *Pusher) Joined() error { return p.conn.Write(stream.Joined, nil) }
