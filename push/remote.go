package push

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/kballard/go-shellquote"

	"ostree-push/cli"
	"ostree-push/report"
)

// remote runs the receiver where the destination is.
type remote struct {
	conn    connection
	src     *source
	dest    dest
	named   []string // refs that were named; none: all are pushed
	dryRun  bool
	text    *report.Text
	stdout  io.Writer
	silence *silence
	said    *listener

	commands   []string // candidates
	transports []tried  // likewise
	current    transport
}

// tried is a transport, and what it is called in messages.
type tried struct {
	transport
	phrase string
}

func newRemote(conn connection, d dest, j job) *remote {
	r := &remote{
		conn:     conn,
		src:      j.src,
		dest:     d,
		named:    j.cl.Refs,
		dryRun:   j.cl.DryRun,
		text:     j.text,
		stdout:   j.stdout,
		silence:  &silence{host: d.host, patience: j.cl.patience},
		said:     &listener{Sink: j.text},
		commands: j.cl.Command,
	}
	for _, t := range transports {
		if j.cl.Transport == anyTransport || j.cl.Transport == t.name {
			r.transports = append(r.transports, tried{t.start(r, j.cl), t.phrase})
		}
	}
	return r
}

// args is what follows the remote command.
func (r *remote) args(url string) []string {
	var args []string
	if r.dryRun {
		args = append(args, "-n")
	}
	return append(args, r.dest.repo, url)
}

// run tries the commands in turn until one exists.
func (r *remote) run(ctx context.Context) error {
	ctx, stop := r.silence.watch(ctx)
	defer stop()
	for _, command := range r.commands {
		words, err := shellquote.Split(command)
		if err != nil || len(words) == 0 {
			return fmt.Errorf("invalid command %q: %v", command, err)
		}
		o, err := r.tryTransports(ctx, words)
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

// tryTransports runs one command, with one transport after the other until it knows one.
func (r *remote) tryTransports(ctx context.Context, words []string) (o outcome, err error) {
	for i, t := range r.transports {
		r.current = t.transport
		o, err = t.try(ctx, words)
		others := r.transports[i+1:]
		r.settle(o, len(others) > 0)
		if err != nil || !o.fromOldReceiver() {
			return o, err
		}
		if len(others) == 0 {
			return o, cli.Hint(fmt.Errorf("%s on the server does not know %s", words[0], t.phrase),
				"--transport=%s uses a tunnel where the stream is not known", anyTransport)
		}
		r.text.Log(report.Debug, fmt.Sprintf("%s on the server does not know %s: using %s", words[0], t.phrase, others[0].phrase))
	}
	return o, err
}

// settle shows what a command has printed, or drops it, if another one is tried after it, or
// the same one with another transport.
func (r *remote) settle(o outcome, others bool) {
	if o.hold == nil {
		return // nothing was run
	}
	another := o.notFound() || others && o.fromOldReceiver()
	if another && !r.text.Shows(report.Debug) {
		o.hold.drop()
		return
	}
	o.hold.release()
	if o.greeting == notGreeted {
		r.stdout.Write(o.noise)
	}
}

// debugWriter is for what only the curious want to see.
func (r *remote) debugWriter() io.Writer {
	if r.text.Shows(report.Debug) {
		return r.text
	}
	return io.Discard
}

// totals returns what has been sent.
func (r *remote) totals() (all report.Totals) {
	for _, t := range r.transports {
		sent := t.totals()
		all.Objects += sent.Objects
		all.Bytes += sent.Bytes
	}
	return all
}

// close ends what the transports have begun.
func (r *remote) close() {
	for _, t := range r.transports {
		t.close()
	}
}
