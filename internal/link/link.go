// Package link emulates a network link between two TCP programs on the same
// machine: what netem does, in user space, so that no privilege is needed.
//
// What it has: the round-trip time, in the handshake too; the rate of either
// direction, shared by all connections; a bounded queue at the link's entrance,
// and so back pressure. What it has not: loss, jitter, and the slow start of
// TCP, so that a connection is at full speed at once.
package link

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// chunkSize is the most that passes the link in one piece. At 100 Mbit/s
	// it takes 1.3 ms, which is how fairly connections share the link.
	chunkSize = 16 << 10

	// A router's queue is usually as long as what is under way in a round
	// trip, and not very small.
	minQueueTime = 50 * time.Millisecond
	minQueueSize = 256 << 10

	// maxFlight bounds the memory of a connection in one direction where the
	// rate does not: 64 MiB in chunks, the window of a well tuned TCP.
	maxFlight = 64 << 20 / chunkSize
)

// A Link is a full-duplex link.
type Link struct {
	RTT  time.Duration
	Rate int64 // bits per second in each direction; 0 is unlimited
}

// A Proxy is a TCP listener on loopback behind which, at the other end of a
// link, a target is.
type Proxy struct {
	Addr *net.TCPAddr // where to connect to

	link     Link
	target   string
	listener net.Listener
	cancel   context.CancelFunc
	running  sync.WaitGroup

	up, down line
}

// Proxy listens on a port of loopback, until the context ends or the proxy is
// closed, and connects whoever connects to it with the target's TCP address.
// Each proxy is a link of its own.
func (l Link) Proxy(ctx context.Context, target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &Proxy{
		Addr:     listener.Addr().(*net.TCPAddr),
		link:     l,
		target:   target,
		listener: listener,
		cancel:   cancel,
		up:       line{delay: l.RTT / 2, rate: l.Rate},
		down:     line{delay: l.RTT / 2, rate: l.Rate},
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	p.running.Add(1)
	go p.accept(ctx)
	return p, nil
}

// Close ends the proxy and all connections through it. One that is nil has
// none.
func (p *Proxy) Close() error {
	if p == nil {
		return nil
	}
	p.cancel()
	p.running.Wait()
	return nil
}

// Sent returns how many bytes entered the link towards the target.
func (p *Proxy) Sent() int64 { return p.up.bytes.Load() }

// Received returns how many bytes entered the link coming from the target.
func (p *Proxy) Received() int64 { return p.down.bytes.Load() }

// Delivered returns how many bytes have come out of the link at the target.
func (p *Proxy) Delivered() int64 {
	p.up.mu.Lock()
	defer p.up.mu.Unlock()
	return p.up.delivered
}

// WaitDelivered waits until n bytes have come out of the link at the target.
func (p *Proxy) WaitDelivered(ctx context.Context, n int64) error {
	select {
	case <-p.up.mark(n):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Proxy) accept(ctx context.Context) {
	defer p.running.Done()
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Add(1)
		go func() {
			defer p.running.Done()
			p.connect(ctx, conn.(*net.TCPConn), time.Now())
		}()
	}
}

// connect carries one connection, whose first packet was sent at start.
func (p *Proxy) connect(ctx context.Context, client *net.TCPConn, start time.Time) {
	ctx, cancel := context.WithCancel(ctx)
	defer client.Close()
	defer context.AfterFunc(ctx, func() { client.Close() })()
	var pumps sync.WaitGroup
	defer func() {
		cancel() // also where a pump still waits for its connection
		pumps.Wait()
	}()
	pump := func(f func() error) {
		pumps.Add(1)
		go func() {
			defer pumps.Done()
			// What breaks one direction has broken the connection; an end of
			// file has not, and is no error here.
			if f() != nil {
				cancel()
			}
		}()
	}
	up, down := make(chan chunk, maxFlight), make(chan chunk, maxFlight)

	// The handshake. The kernel has told the client at once that it is
	// connected, which it would know after a round trip; only what it sends
	// from then on is there to be read. The server learns of it when the
	// third packet arrives.
	if sleepUntil(ctx, start.Add(p.link.RTT)) != nil {
		return
	}
	pump(func() error { return p.up.receive(ctx, client, up) })
	if sleepUntil(ctx, start.Add(p.link.RTT+p.link.RTT/2)) != nil {
		return
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.target)
	if err != nil {
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	defer context.AfterFunc(ctx, func() { server.Close() })()
	pump(func() error { return p.up.deliver(ctx, server, up) })
	pump(func() error { return p.down.receive(ctx, server, down) })
	pump(func() error { return p.down.deliver(ctx, client, down) })
	pumps.Wait()
}

// A chunk is data under way, and when it arrives. No data is the end of it.
type chunk struct {
	data []byte
	due  time.Time
}

// A line is one direction of the link, shared by all connections.
type line struct {
	delay time.Duration
	rate  int64
	bytes atomic.Int64

	mu        sync.Mutex
	free      time.Time // when the last bit of what was sent so far has left
	delivered int64
	marks     []mark
}

// A mark is that so many bytes have been delivered.
type mark struct {
	bytes   int64
	reached chan struct{} // closed then
}

// mark returns what is closed when n bytes have been delivered.
func (l *line) mark(n int64) <-chan struct{} {
	m := mark{n, make(chan struct{})}
	l.mu.Lock()
	l.marks = append(l.marks, m)
	l.mu.Unlock()
	l.note(0)
	return m.reached
}

// note counts n bytes that were delivered.
func (l *line) note(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delivered += int64(n)
	l.marks = slices.DeleteFunc(l.marks, func(m mark) bool {
		reached := l.delivered >= m.bytes
		if reached {
			close(m.reached)
		}
		return reached
	})
}

// receive sends what is read from the connection over the line.
//
// A chunk is put in flight at once with the time at which it will arrive, so
// the delay limits nobody's throughput.
func (l *line) receive(ctx context.Context, src *net.TCPConn, flight chan<- chunk) error {
	// What found no place in the queue should wait at its sender, and not in
	// a buffer here.
	if err := src.SetReadBuffer(minQueueSize); err != nil {
		return err
	}
	for {
		if err := l.waitForQueue(ctx); err != nil {
			return err
		}
		buf := make([]byte, chunkSize)
		n, err := src.Read(buf)
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return err
		}
		select {
		case flight <- chunk{buf[:n], l.send(n)}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if end {
			return nil
		}
	}
}

// waitForQueue waits until the queue at the line's entrance has room.
func (l *line) waitForQueue(ctx context.Context) error {
	for {
		l.mu.Lock()
		room := l.free.Add(-l.queueTime())
		l.mu.Unlock()
		if !time.Now().Before(room) {
			return nil
		}
		if err := sleepUntil(ctx, room); err != nil {
			return err
		}
	}
}

// queueTime is how long a byte that enters the full queue waits.
func (l *line) queueTime() time.Duration {
	return max(minQueueTime, 2*l.delay, l.serialise(minQueueSize))
}

// send puts n bytes on the line and returns when the last of them arrives.
func (l *line) send(n int) time.Time {
	l.bytes.Add(int64(n))
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(l.serialise(n))
	return l.free.Add(l.delay)
}

// serialise returns how long it takes to put n bytes on the line.
func (l *line) serialise(n int) time.Duration {
	if l.rate == 0 {
		return 0
	}
	return time.Duration(int64(n) * 8 * int64(time.Second) / l.rate)
}

// deliver writes each chunk when it arrives.
func (l *line) deliver(ctx context.Context, dst *net.TCPConn, flight <-chan chunk) error {
	for {
		var c chunk
		select {
		case c = <-flight:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := sleepUntil(ctx, c.due); err != nil {
			return err
		}
		if len(c.data) == 0 {
			return dst.CloseWrite()
		}
		n, err := dst.Write(c.data)
		l.note(n)
		if err != nil {
			return err
		}
	}
}

func sleepUntil(ctx context.Context, t time.Time) error {
	left := time.Until(t)
	if left <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
