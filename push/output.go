package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
	dryRun     bool
	text       *report.Text
	stdout     io.Writer
	silence    *silence

	heard heard
}

// heard is what the receiver has said of the push.
type heard struct {
	report.Sink
	mu     sync.Mutex
	events bool          // something
	moved  bool          // that a ref has moved
	ended  *report.Ended // how it ended; nil: it has not said
}

func (h *heard) note(f func()) report.Sink {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = true
	f()
	return h.Sink
}

func (h *heard) Log(level report.Level, text string) { h.note(func() {}).Log(level, text) }
func (h *heard) Progress(p report.Progress)          { h.note(func() {}).Progress(p) }
func (h *heard) Ref(r report.Ref)                    { h.note(func() { h.moved = h.moved || r.Moved() }).Ref(r) }
func (h *heard) Ended(e report.Ended)                { h.note(func() { h.ended = &e }) }

// end returns how the receiver ended, if it has said that.
func (h *heard) end() *report.Ended {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ended
}

// outcome is how a remote command ended.
type outcome struct {
	status int
	way    way
	noise  []byte   // what came on standard output instead of a greeting
	said   []string // the last lines that were no events
	crash  string   // the first line of what a program of ours says when it crashes
}

// way is how far it is known how objects travel.
type way int

const (
	noWay     way = iota // the command is not known to be a receiver
	streamWay            // it has greeted
	tunnelWay            // it may pull
)

// holdTime is how long output is held back for want of another sign that the
// remote command exists.
const holdTime = 5 * time.Second

// run tries the commands in turn until one exists.
func (r *receiverRun) run(ctx context.Context) error {
	ctx, stop := r.silence.watch(ctx)
	defer stop()
	for _, command := range r.commands {
		words, err := shellquote.Split(command)
		if err != nil || len(words) == 0 {
			return fmt.Errorf("invalid command %q: %v", command, err)
		}
		o, err := r.tryWays(ctx, words)
		if err != nil {
			return r.hinted(o, err)
		}
		if o.notFound() {
			r.text.Log(report.Debug, fmt.Sprintf("There is no %s on the server", words[0]))
			continue
		}
		return r.hinted(o, r.failure(words[0], o))
	}
	return cli.Hint(fmt.Errorf("Could not find commands %s on server", strings.Join(r.commands, " ")),
		"install ostree-push there, or name its receiver with --command=/path/to/ostree-receive")
}

// tryWays runs one command, with the stream and, where it does not know that,
// with the tunnel.
func (r *receiverRun) tryWays(ctx context.Context, words []string) (outcome, error) {
	if r.stream != nil {
		o, err := r.tryStream(ctx, words)
		if err != nil || o.way == streamWay || !o.fromOldReceiver() {
			return o, err
		}
		if r.only {
			return o, cli.Hint(fmt.Errorf("%s on the server does not know the stream", words[0]),
				"--transport=auto uses a tunnel where the stream is not known")
		}
		r.text.Log(report.Debug, words[0]+" on the server does not know the stream: using a tunnel")
	}
	args, err := r.args(ctx)
	if err != nil {
		return outcome{}, err
	}
	return r.try(ctx, remoteCommand(words, args))
}

// tryStream runs one command that is to use the stream. What it says if it does not know it is
// shown only to the curious, if there is another way.
func (r *receiverRun) tryStream(ctx context.Context, words []string) (o outcome, err error) {
	hold := &holder{}
	s := r.stream
	s.sink = &r.heard
	s.open = func(ctx context.Context, do talker) error {
		return r.conn.talk(ctx, remoteCommand(words, r.joinArgs), r.debugWriter(), do)
	}
	r.silence.expects.Store(true) // a greeting, or that it does not know one
	defer r.silence.expects.Store(false)
	stderr := newRemoteErrors(hold.writer(r.text), r.debugWriter())
	var talked error
	err = r.conn.talk(ctx, remoteCommand(words, r.streamArgs), stderr, func(ctx context.Context, stdin io.WriteCloser, stdout io.Reader) {
		talked = s.run(ctx, stdin, r.silence.reader(stdout), hold.release)
	})
	o = outcome{way: streamWay, noise: s.noise}
	if errors.Is(talked, errNoStream) {
		o.way, talked = noWay, nil
	}
	o.said, o.crash = stderr.end()
	err = o.ended(err)
	if o.way == noWay && len(o.said) == 0 {
		tail := report.NewTail()
		tail.Write(o.noise)
		o.said = tail.Lines()
	}
	r.settle(hold, o)
	if err == nil && !fromEnd(talked) {
		err = talked
	}
	return o, err
}

// fromEnd reports whether err is what one meets when the receiver has ended, which has said why.
func fromEnd(err error) bool {
	for _, met := range []error{stream.ErrEnded, unix.EPIPE, os.ErrClosed, context.Canceled} {
		if errors.Is(err, met) {
			return true
		}
	}
	return false
}

// ended notes the exit status of the command, if it is that which err is.
func (o *outcome) ended(err error) error {
	var exit *exitError
	if !errors.As(err, &exit) {
		return err
	}
	o.status = exit.status
	return nil
}

// settle shows what a command has said, or drops it, if another one is tried after it.
func (r *receiverRun) settle(hold *holder, o outcome) {
	another := o.notFound() || o.way == noWay && o.fromOldReceiver() && !r.only
	if another && !r.text.Shows(report.Debug) {
		hold.drop()
		return
	}
	hold.release()
	if o.way == noWay {
		r.stdout.Write(o.noise)
	}
}

// debugWriter is for what only the curious want to see.
func (r *receiverRun) debugWriter() io.Writer {
	if r.text.Shows(report.Debug) {
		return r.text
	}
	return io.Discard
}

// try runs one command line that is to use the tunnel. Its output is held
// back until it is known to exist, since what a shell says of a command that
// does not is of interest only to the curious.
func (r *receiverRun) try(ctx context.Context, line string) (o outcome, err error) {
	hold := &holder{}
	tail := report.NewTail()
	stdout := &lineWriter{listener: &r.heard, rest: io.MultiWriter(hold.writer(r.stdout), tail), event: func() {
		r.silence.heard.Store(true)
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

	o.way = tunnelWay
	o.said, o.crash = stderr.end()
	if len(o.said) == 0 {
		o.said = tail.Lines()
	}
	err = o.ended(err)
	r.settle(hold, o)
	return o, err
}

// maxLine bounds what is kept of a line that might be an event.
const maxLine = 1 << 20

// lineWriter splits a receiver's standard output into events, for listener, and
// the rest.
type lineWriter struct {
	listener report.Listener
	event    func() // is called for each event
	rest     io.Writer
	line     []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.line = append(l.line, p...)
	for {
		line, after, ok := bytes.Cut(l.line, []byte("\n"))
		if !ok {
			break
		}
		if report.Decode(line, l.listener) {
			l.event()
		} else {
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
