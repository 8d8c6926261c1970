package e2e

import (
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ostree-push/internal/otrepo"
)

// crowd is a proxy that closes the first connections at once, as sshd does with some of those
// that come when more than its MaxStartups are not logged in yet.
type crowd struct {
	listener net.Listener
	closes   int
	accepted atomic.Int64
}

func newCrowd(t *testing.T, to string, closes int) *crowd {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	c := &crowd{listener: listener, closes: closes}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if n := int(c.accepted.Add(1)); n <= closes {
				// One end, or the other: with what has been sent unread, the close is a reset.
				if n%2 == 0 {
					conn.(*net.TCPConn).SetLinger(0)
				}
				conn.Close()
				continue
			}
			go c.pass(conn, to)
		}
	}()
	return c
}

func (c *crowd) pass(conn net.Conn, to string) {
	defer conn.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		io.Copy(server, conn)
		server.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(conn, server)
}

func (c *crowd) port() int { return c.listener.Addr().(*net.TCPAddr).Port }

// A server that closes the connection before the key exchange is asked again, a few times.
func TestCrowdedServer(t *testing.T) {
	t.Parallel()
	local := filepath.Join(t.TempDir(), "local")
	if err := otrepo.Init(local, "archive"); err != nil {
		t.Fatal(err)
	}
	if _, err := (otrepo.Commit{Ref: "main", Dir: randomTree(t, 1, 1, 100), Time: time.Unix(1_700_000_000, 0)}).Write(local); err != nil {
		t.Fatal(err)
	}
	remote := newSSHRemote(t)
	address := net.JoinHostPort(remote.server.Host(), strconv.Itoa(remote.server.Port()))
	for _, test := range []struct {
		name   string
		closes int
		works  bool
	}{
		{"for a while", 3, true},
		{"for ever", 1000, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, address, test.closes)
			said, err := remote.pushCommand(t.Context(), c.port(), []string{"--repo=" + local}, "main").CombinedOutput()
			text := string(said)
			if again := strings.Count(text, "closed the connection before the key exchange: trying again in "); again != min(test.closes, 5) {
				t.Errorf("it says %d times that it tries again:\n%s", again, text)
			}
			if (err == nil) != test.works {
				t.Errorf("%v\n%s", err, text)
			}
			if test.works {
				if strings.Contains(text, "kex_exchange") {
					t.Errorf("what ssh says of connections that do not matter:\n%s", text)
				}
				return
			}
			if !matches("the server closed the connection before the key exchange, 6 times", text) || !matches("hint: .*MaxStartups", text) || !matches("kex_exchange_identification|Connection (closed|reset)", text) {
				t.Errorf("it says:\n%s", text)
			}
			if n := c.accepted.Load(); n != 6 {
				t.Errorf("%d connections", n)
			}
		})
	}
}
