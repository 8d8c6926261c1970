package link

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// serve runs handler for every connection to a listener, and returns a proxy
// of it.
func serve(t *testing.T, l Link, handler func(*net.TCPConn)) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Add(1)
	go func() {
		defer running.Done()
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Add(1)
			go func() {
				defer running.Done()
				defer conn.Close()
				handler(conn.(*net.TCPConn))
			}()
		}
	}()
	p, err := l.Proxy(context.Background(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		listener.Close()
		running.Wait()
	})
	return p
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTCP("tcp", nil, p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func echo(conn *net.TCPConn) { io.Copy(conn, conn) }

// takes runs f, which must never take less than low, and not more than high
// either, but as a busy machine may delay it now and then, in one try of three.
func takes(t *testing.T, low, high time.Duration, f func()) {
	t.Helper()
	var took time.Duration
	for range 3 {
		start := time.Now()
		f()
		took = time.Since(start)
		t.Logf("took %v, of %v to %v", took, low, high)
		if took < low || took <= high {
			break
		}
	}
	if took < low || took > high {
		t.Errorf("took %v, not %v to %v", took, low, high)
	}
}

func TestPingPong(t *testing.T) {
	const rtt = 100 * time.Millisecond
	p := serve(t, Link{RTT: rtt}, echo)
	pings := int64(0)
	ping := func(conn net.Conn) {
		buf := []byte("ping")
		if _, err := conn.Write(buf); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, buf); err != nil {
			t.Fatal(err)
		}
		pings++
	}
	var conn *net.TCPConn
	takes(t, 2*rtt, 3*rtt, func() {
		conn = dial(t, p)
		ping(conn)
	})
	takes(t, 2*rtt, 3*rtt, func() {
		ping(conn)
		ping(conn)
	})
	if want := 4 * pings; p.Sent() != want || p.Received() != want {
		t.Errorf("sent %d, received %d, want %d", p.Sent(), p.Received(), want)
	}
}

// The server speaks first, as sshd does: that takes two round trips.
func TestBanner(t *testing.T) {
	const rtt = 100 * time.Millisecond
	p := serve(t, Link{RTT: rtt}, func(conn *net.TCPConn) { io.WriteString(conn, "hello") })
	takes(t, 2*rtt, 3*rtt, func() {
		got, err := io.ReadAll(dial(t, p))
		if err != nil || string(got) != "hello" {
			t.Fatalf("read %q, %v", got, err)
		}
	})
}

// Two connections share the rate of the link, in either direction.
func TestRate(t *testing.T) {
	const (
		rate = 64 << 20 // bits
		size = 1 << 20  // bytes of each of two connections
	)
	link := Link{Rate: rate, RTT: 20 * time.Millisecond}
	source := func(conn *net.TCPConn) { conn.Write(make([]byte, size)) }
	sink := func(conn *net.TCPConn) { io.Copy(io.Discard, conn) }
	want := time.Duration(2 * size * 8 * int64(time.Second) / rate)
	for _, c := range []struct {
		name           string
		server, client func(*net.TCPConn)
	}{
		{"down", source, sink},
		{"up", sink, func(conn *net.TCPConn) {
			source(conn)
			conn.CloseWrite()
			sink(conn) // until the server has read all
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, link, c.server)
			runs := int64(0)
			takes(t, want, want*13/10+3*link.RTT, func() {
				var running sync.WaitGroup
				for range 2 {
					conn := dial(t, p)
					running.Add(1)
					go func() {
						defer running.Done()
						c.client(conn)
					}()
				}
				running.Wait()
				runs++
			})
			if n := p.Sent() + p.Received(); n != runs*2*size {
				t.Errorf("%d bytes passed, not %d", n, runs*2*size)
			}
		})
	}
}

// A long delay must not limit the throughput, as it would if one chunk were
// under way at a time.
func TestLongFat(t *testing.T) {
	const (
		rtt  = 200 * time.Millisecond
		size = 16 << 20
	)
	t.Parallel()
	p := serve(t, Link{RTT: rtt}, func(conn *net.TCPConn) { conn.Write(make([]byte, size)) })
	takes(t, 2*rtt, 2*rtt+time.Second, func() {
		n, err := io.Copy(io.Discard, dial(t, p))
		if err != nil || n != size {
			t.Fatalf("read %d bytes, %v", n, err)
		}
	})
}

// A sender cannot put more on a slow link than its queue holds.
func TestBackPressure(t *testing.T) {
	const size = 64 << 20
	p := serve(t, Link{Rate: 1 << 20}, echo)
	conn := dial(t, p)
	const patience = 200 * time.Millisecond
	conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := conn.Write(make([]byte, size))
	if err == nil {
		t.Error("all was taken")
	}
	if limit := int64(minQueueSize + 2*chunkSize + 1<<20*patience/time.Second/8); p.Sent() > limit {
		t.Errorf("%d bytes entered the link, which holds %d", p.Sent(), limit)
	}
}

func TestClose(t *testing.T) {
	p := serve(t, Link{RTT: time.Hour}, echo)
	conn := dial(t, p)
	p.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("read from a closed link: %v", err)
	}
	if _, err := net.DialTCP("tcp", nil, p.Addr); err == nil {
		t.Error("a closed proxy accepts connections")
	}
}

// A client hears of a target that is not there, after a round trip and a half.
func TestRefused(t *testing.T) {
	p, err := Link{RTT: 10 * time.Millisecond}.Proxy(context.Background(), "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := dial(t, p).Read(make([]byte, 1)); err == nil {
		t.Error("read from a target that is not there")
	}
}

func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	p, err := Link{}.Proxy(ctx, "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, p)
	cancel()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlived the context")
	}
	p.running.Wait()
}

// What is under way has not been delivered, and who waits for so many bytes learns when they are there.
func TestDelivered(t *testing.T) {
	const rtt = 200 * time.Millisecond
	p := serve(t, Link{RTT: rtt}, func(conn *net.TCPConn) { io.Copy(io.Discard, conn) })
	start := time.Now()
	conn := dial(t, p)
	if _, err := conn.Write(make([]byte, 3000)); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitDelivered(context.Background(), 3000); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < rtt || p.Delivered() != 3000 {
		t.Errorf("%d bytes were there after %v", p.Delivered(), took)
	}
	if err := p.WaitDelivered(context.Background(), 2000); err != nil {
		t.Errorf("what is there already: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.WaitDelivered(ctx, 3001); err == nil {
		t.Error("more than was sent is there")
	}
}
