package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/kballard/go-shellquote"
	"golang.org/x/sys/unix"

	"ostree-push/cli"
	"ostree-push/report"
	"ostree-push/stream"
)

// receiverRun runs the receiver on the remote host.
type receiverRun struct {
	conn     *connection
	commands []string // candidates
	// args is what follows the remote command, with the URL of the tunnel, which
	// is set up when it is needed.
	args       func(ctx context.Context) ([]string, error)
	started    <-chan struct{} // closed when the receiver has asked for something
	stream     *streamPush     // nil: only the tunnel is to be used
	streamArgs []string
	joinArgs   []string // for further channels of the stream
	only       bool     // the stream, and no tunnel
	text       *report.Text
	stdout     io.Writer

	// events reports, after the run, whether the receiver said what it did.
	events bool
}

// holdTime is how long output is held back for want of another sign that the
// remote command exists.
const holdTime = 5 * time.Second

// run tries the commands in turn until one exists.
func (r *receiverRun) run(ctx context.Context) error {
	for _, command := range r.commands {
		words, err := shellquote.Split(command)
		if err != nil || len(words) == 0 {
			return fmt.Errorf("invalid command %q: %v", command, err)
		}
		status, err := r.tryWays(ctx, words)
		if err != nil {
			return err
		}
		switch status {
		case 0:
			return nil
		case commandNotFound:
			r.text.Log(report.Debug, fmt.Sprintf("There is no %s on the server", words[0]))
		default:
			return fmt.Errorf("%s failed on the server with exit status %d", words[0], status)
		}
	}
	return cli.Hint(fmt.Errorf("Could not find commands %s on server", strings.Join(r.commands, " ")),
		"install ostree-push there, or name its receiver with --command=/path/to/ostree-receive")
}

// tryWays runs one command, with the stream and, where it does not know that,
// with the tunnel.
func (r *receiverRun) tryWays(ctx context.Context, words []string) (status int, err error) {
	if r.stream != nil {
		r.stream.open = func(ctx context.Context, do func(io.WriteCloser, io.Reader)) error {
			return r.conn.talk(ctx, remoteCommand(words, r.joinArgs), r.debugWriter(), do)
		}
		status, err = r.tryStream(ctx, remoteCommand(words, r.streamArgs))
		if !errors.Is(err, errNoStream) || status == commandNotFound {
			if errors.Is(err, errNoStream) {
				err = nil
			}
			return status, err
		}
		if r.only {
			return 0, cli.Hint(fmt.Errorf("%s on the server does not know the stream, or failed with exit status %d", words[0], status),
				"--transport=auto uses a tunnel where the stream is not known")
		}
		r.text.Log(report.Debug, words[0]+" on the server does not know the stream: using a tunnel")
	}
	args, err := r.args(ctx)
	if err != nil {
		return 0, err
	}
	return r.try(ctx, remoteCommand(words, args))
}

// tryStream runs one command line that is to use the stream. If it does not know it, the
// error is errNoStream, and what it said is shown only to the curious.
func (r *receiverRun) tryStream(ctx context.Context, line string) (status int, err error) {
	hold := &holder{}
	r.stream.sink = eventCounter{r.text, &r.events}
	var talked error
	err = r.conn.talk(ctx, line, hold.writer(r.text), func(stdin io.WriteCloser, stdout io.Reader) {
		talked = r.stream.run(ctx, stdin, stdout, hold.release)
	})
	var exit *exitError
	if errors.As(err, &exit) {
		status, err = exit.status, nil
	}
	if errors.Is(talked, errNoStream) && !r.text.Shows(report.Debug) && !r.only {
		hold.drop()
	} else {
		hold.release()
	}
	switch {
	case err != nil:
		return status, err
	case errors.Is(talked, errNoStream):
		return status, talked
	case status == 0:
		return 0, talked
	case errors.Is(talked, stream.ErrEnded), errors.Is(talked, unix.EPIPE):
		return status, nil // the receiver has said why
	}
	if talked != nil {
		return 0, talked
	}
	return status, nil
}

// debugWriter is for what only the curious want to see.
func (r *receiverRun) debugWriter() io.Writer {
	if r.text.Shows(report.Debug) {
		return r.text
	}
	return io.Discard
}

// try runs one command line, and returns its exit status. Its output is held
// back until it is known to exist, since what a shell says of a command that
// does not is of interest only to the curious.
func (r *receiverRun) try(ctx context.Context, line string) (status int, err error) {
	hold := &holder{}
	stdout := &lineWriter{sink: eventCounter{r.text, &r.events}, rest: hold.writer(r.stdout)}
	stderr := hold.writer(r.text)

	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		timer := time.NewTimer(holdTime)
		defer timer.Stop()
		select {
		case <-r.started:
			hold.release()
		case <-timer.C:
			hold.release()
		case <-ended:
		}
	}()
	err = r.conn.run(ctx, line, stdout, stderr)
	close(ended)
	wg.Wait()
	stdout.flush()

	var exit *exitError
	if errors.As(err, &exit) {
		status, err = exit.status, nil
	}
	if status == commandNotFound && !r.text.Shows(report.Debug) {
		hold.drop()
	} else {
		hold.release()
	}
	return status, err
}

// eventCounter is a Sink that notes that there were events.
type eventCounter struct {
	report.Sink
	seen *bool
}

func (e eventCounter) note() report.Sink { *e.seen = true; return e.Sink }

func (e eventCounter) Log(level report.Level, text string) { e.note().Log(level, text) }
func (e eventCounter) Progress(p report.Progress)          { e.note().Progress(p) }
func (e eventCounter) Ref(r report.Ref)                    { e.note().Ref(r) }

// maxLine bounds what is kept of a line that might be an event.
const maxLine = 1 << 20

// lineWriter splits a receiver's standard output into events, for sink, and
// the rest.
type lineWriter struct {
	sink report.Sink
	rest io.Writer
	line []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.line = append(l.line, p...)
	for {
		line, after, ok := bytes.Cut(l.line, []byte("\n"))
		if !ok {
			break
		}
		if !report.Decode(line, l.sink) {
			l.rest.Write(l.line[:len(line)+1])
		}
		l.line = after
	}
	if len(l.line) > maxLine {
		l.flush()
	}
	return len(p), nil
}

// flush passes on what is left of a line without an end.
func (l *lineWriter) flush() {
	if len(l.line) > 0 {
		l.rest.Write(l.line)
		l.line = nil
	}
}

// holder keeps output back until it is released or dropped.
type holder struct {
	mu       sync.Mutex
	released bool
	held     []func()
	size     int
}

// maxHeld bounds what is kept back.
const maxHeld = 64 << 10

// writer returns a writer to w that is held back.
func (h *holder) writer(w io.Writer) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.released {
			return w.Write(p)
		}
		kept := bytes.Clone(p)
		h.held = append(h.held, func() { w.Write(kept) })
		if h.size += len(p); h.size > maxHeld {
			h.releaseLocked()
		}
		return len(p), nil
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (h *holder) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.releaseLocked()
}

func (h *holder) releaseLocked() {
	h.released = true
	for _, write := range h.held {
		write()
	}
	h.held = nil
}

func (h *holder) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = nil
}
