package push

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"ostree-push/report"
)

// tunnel has the receiver pull over HTTP, from a port of its host that ssh forwards to the
// source.
type tunnel struct {
	remote *remote

	address string // the URL of the source, as the receiver sees it; "": it is not served
	stop    func() // ends that
}

func newTunnel(r *remote, _ commandLine) transport { return &tunnel{remote: r} }

// url returns the URL at which the server finds the source.
func (t *tunnel) url(ctx context.Context) (string, error) {
	if t.address != "" {
		return t.address, nil
	}
	if err := t.remote.src.loadSummary(); err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("serve %s: %w", t.remote.src.repo.Path(), err)
	}
	t.stop = t.remote.src.serve(listener)
	t.remote.text.Log(report.Debug, fmt.Sprintf("Serving %s on %s", t.remote.src.repo.Path(), listener.Addr()))
	port, err := t.remote.conn.forward(ctx, listener.Addr().(*net.TCPAddr).Port)
	if err != nil {
		return "", err
	}
	t.remote.text.Log(report.Debug, fmt.Sprintf("The server forwards its port %d to it", port))
	t.address = t.remote.src.url(port)
	return t.address, nil
}

// holdTime is how long output is held back for want of another sign that the
// remote command exists.
const holdTime = 5 * time.Second

// try runs a command. Its output is held back until the command is known to exist, since
// what a shell says of one that does not is of interest only to the curious.
func (t *tunnel) try(ctx context.Context, command []string) (o outcome, err error) {
	url, err := t.url(ctx)
	if err != nil {
		return outcome{}, err
	}
	r, hold := t.remote, &holder{}
	tail := report.NewTail()
	stdout := &lineWriter{listener: r.said, rest: io.MultiWriter(hold.writer(r.stdout), tail), event: func() {
		r.silence.broken()
		r.silence.expects.Store(true) // only a receiver of ours says anything
		hold.release()
	}}
	defer r.silence.expects.Store(false)
	stderr := newRemoteErrors(hold.writer(r.text), r.debugWriter())

	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		timer := time.NewTimer(holdTime)
		defer timer.Stop()
		select {
		case <-r.src.requested:
			hold.release()
		case <-timer.C:
			hold.release()
		case <-ended:
		}
	}()
	err = r.conn.run(ctx, command, append(r.args(url), r.named...), stdout, stderr)
	close(ended)
	wg.Wait()
	stdout.flush()

	o = outcome{hold: hold, greeting: noneExpected}
	o.said, o.crash = stderr.end()
	if len(o.said) == 0 {
		o.said = tail.Lines()
	}
	err = o.ended(err)
	return o, err
}

// mayMove reports whether the receiver has asked for anything: what it has got is not known.
func (t *tunnel) mayMove() bool {
	select {
	case <-t.remote.src.requested:
		return true
	default:
		return false
	}
}

// resumable is false: what is pulled is not kept.
func (t *tunnel) resumable() bool { return false }

func (t *tunnel) totals() report.Totals { return t.remote.src.totals() }

func (t *tunnel) close() {
	if t.stop != nil {
		t.stop()
	}
}
