package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/internal/link"
)

// measure measures a cell. The contenders run in turn, so that what slows the
// machine down for a while slows all of them.
func (b *bench) measure(ctx context.Context, res *results, name string, l link.Link) error {
	c := res.cell(name, l)
	var running []*contender
	for _, contender := range b.contenders {
		if !contender.takesPart(name) {
			continue
		}
		r := &result{}
		c.Results[contender.name] = r
		if slow, seconds := res.tooSlow(c.key, contender.name, b.opts.max); slow != nil {
			r.Over = seconds
			r.LeftOut = fmt.Sprintf("it took %s s or more with %s", secondsString(seconds), describe(slow.link()))
			logf("%s, %s: left out, since %s", c, contender.name, r.LeftOut)
			continue
		}
		running = append(running, contender)
	}
	// Loopback itself tells nobody how much it carries. So there is one run
	// more, through a link without limits, that is not timed.
	if !b.linked(c, false) && !b.opts.memory {
		if err := b.round(ctx, c, running, "to count bytes", true); err != nil {
			return err
		}
	}
	for n := range b.opts.runs {
		if err := b.round(ctx, c, running, fmt.Sprintf("run %d", n+1), false); err != nil {
			return err
		}
	}
	return nil
}

// round runs each contender once, if it was neither too slow so far, nor is
// what it took enough.
func (b *bench) round(ctx context.Context, c *cell, running []*contender, which string, count bool) error {
	for _, contender := range running {
		r := c.Results[contender.name]
		if r.Error != "" || r.Over != 0 || slices.Max(append(r.Seconds, 0)) > b.opts.enough.Seconds() {
			continue
		}
		err := b.once(ctx, c, contender, r, count)
		var failed *failure
		switch {
		case err == nil:
			took := "not timed"
			if !count {
				took = fmt.Sprintf("%.3f s", r.Seconds[len(r.Seconds)-1])
			}
			logf("%s, %s, %s: %s", c, contender.name, which, took)
		case errors.As(err, &failed):
			if errors.Is(err, errTimeout) {
				r.Over = b.opts.max.Seconds()
			} else {
				r.Error = err.Error()
			}
			logf("%s, %s, %s: %v", c, contender.name, which, err)
		default:
			return err
		}
	}
	return nil
}

// A failure is the contender's, and not the benchmark's.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

// linked tells whether a push goes through a link, and not through loopback itself.
func (b *bench) linked(c *cell, count bool) bool {
	return count || pushes()[c.Case].interrupted || c.link() != (link.Link{})
}

// once makes a repository for the contender, lets it push there, and looks
// whether it did. Only the push is timed.
func (b *bench) once(ctx context.Context, c *cell, contender *contender, r *result, count bool) error {
	p := pushes()[c.Case]
	to, leave, err := b.remote(ctx, p)
	if err != nil {
		return fmt.Errorf("make repository: %w", err)
	}
	if err := b.push(ctx, c, contender, r, to, count); err != nil {
		leave(false)
		return err
	}
	return leave(true)
}

func (b *bench) push(ctx context.Context, c *cell, contender *contender, r *result, to string, count bool) (err error) {
	p := pushes()[c.Case]
	if err := contender.configure(p); err != nil {
		return err
	}
	var arrived int64
	if p.interrupted {
		if arrived, err = b.interrupt(ctx, c, contender, p, to); err != nil {
			return err
		}
	}

	port, proxy, err := b.connect(ctx, c, contender, count)
	if err != nil {
		return err
	}
	defer proxy.Close()
	args := contender.command(port, p, b.sets[p.from].repo, to)
	if b.opts.memory {
		if args, err = peakArgs(pusherPeak(contender.bin), args); err != nil {
			return err
		}
	}

	// Nobody should wait for the disk for what was written before.
	unix.Sync()
	took, err := contender.run(ctx, b.opts.max, args, b.work)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		err = b.verify(ctx, contender, p, to)
	}
	if err != nil {
		return &failure{err}
	}
	if b.opts.memory {
		if err := contender.notePeaks(r); err != nil {
			return err
		}
	}
	if !count {
		r.Seconds = append(r.Seconds, took.Seconds())
	}
	if b.linked(c, count) {
		r.Sent = append(r.Sent, proxy.Sent())
		r.Received = append(r.Received, proxy.Received())
	}
	if p.interrupted {
		r.Arrived = append(r.Arrived, arrived)
	}
	return nil
}

// connect returns the port at which the contender's server is, and what is between if anything is.
func (b *bench) connect(ctx context.Context, c *cell, contender *contender, count bool) (int, *link.Proxy, error) {
	port := contender.server.Port()
	if !b.linked(c, count) {
		return port, nil, nil
	}
	proxy, err := c.link().Proxy(ctx, net.JoinHostPort(contender.server.Host(), strconv.Itoa(port)))
	if err != nil {
		return 0, nil, err
	}
	return proxy.Addr.Port, proxy, nil
}

// interrupt begins a push, whose pusher is killed when half of what it has to bring has come out of the link, and
// returns how many bytes these were. The receiver, whose machine is still there, has ended when interrupt returns.
func (b *bench) interrupt(ctx context.Context, c *cell, contender *contender, p push, to string) (int64, error) {
	port, proxy, err := b.connect(ctx, c, contender, false)
	if err != nil {
		return 0, err
	}
	defer proxy.Close()
	half := loadOf(b.sets[p.from], b.sets[p.base]).Bytes / 2
	arrived, err := contender.kill(ctx, b.opts.max, contender.command(port, p, b.sets[p.from].repo, to), proxy, half)
	if err == nil {
		err = contender.server.WaitSessions(time.Minute)
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil {
		return 0, &failure{fmt.Errorf("interrupted push: %w", err)}
	}
	return arrived, nil
}

// verify makes sure that everything arrived, lest a push that fails look fast.
func (b *bench) verify(ctx context.Context, contender *contender, p push, to string) error {
	if p.from == "" {
		return nil
	}
	objects, err := listObjects(to)
	if err != nil {
		return err
	}
	from := b.sets[p.from]
	if p.dry {
		if len(objects) != 0 {
			return fmt.Errorf("a dry run left %d objects", len(objects))
		}
		return nil
	}
	if len(objects) < len(from.objects) {
		return fmt.Errorf("only %d of %d objects arrived", len(objects), len(from.objects))
	}
	for name := range from.objects {
		if _, ok := objects[archived(name)]; !ok && !strings.HasSuffix(name, ".commit") {
			return fmt.Errorf("%s did not arrive", name)
		}
	}
	if onlyObjects(contender.name) {
		return nil
	}
	content, err := contentOf(ctx, to)
	if err != nil {
		return err
	}
	if content != from.content {
		return fmt.Errorf("%s has another content", ref)
	}
	return nil
}

// archived returns what an object of any repository is called in an archive.
func archived(name string) string {
	if strings.HasSuffix(name, ".file") {
		return name + "z"
	}
	return name
}
