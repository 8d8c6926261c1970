package receive

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/receive/audit"
	"ostree-push/receive/config"
	"ostree-push/receive/locate"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
	"ostree-push/stream"
)

// This file has further ssh sessions of a pusher join its receive: such a session
// runs a receiver of its own, which hands its standard input to the one
// that has the quarantine, through a socket in there.

const (
	// joinName is the socket, in the quarantine.
	joinName = "join"
	// joinTime is how long somebody who connects to it may take to say why.
	joinTime = 10 * time.Second
	// maxJoined is how many sessions may join.
	maxJoined = 15
)

// joined is what the receiver says to a session that may join.
const joined = "joined"

// door is where sessions join a receive.
type door struct {
	listener *net.UnixListener
	key      string // 128 random bits, in hexadecimal
}

// openDoor listens in the quarantine.
func openDoor(q *quarantine.Quarantine) (*door, error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", socketIn(q.Dir()))
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // it goes with the quarantine, whose directory may be closed by then
	return &door{listener, hex.EncodeToString(random[:])}, nil
}

// socketIn is the socket in an open directory. Its own path may be longer than
// the address of a socket can be.
func socketIn(dir *os.File) *net.UnixAddr {
	return &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), joinName)}
}

// secret is what a pusher has to know to join.
func (d *door) secret(q *quarantine.Quarantine) string { return q.Name() + "/" + d.key }

func (d *door) close() { d.listener.Close() }

// admit lets in who knows the secret, until the door is closed. enter gets the standard input of
// the session, of which it is the owner from then on, and a function to call when
// it is through with it; its error is the reason why it is not wanted.
func (d *door) admit(enter func(input *os.File, leave func()) error) {
	for {
		conn, err := d.listener.AcceptUnix()
		if err != nil {
			return
		}
		go func() {
			input, err := d.check(conn)
			if err == nil {
				err = enter(input, func() { conn.Close() })
			}
			answer := joined
			if err != nil {
				answer = err.Error()
			}
			io.WriteString(conn, answer)
			if err != nil {
				conn.Close()
			}
		}()
	}
}

// check reads what a session brings: the key, and its standard input.
func (d *door) check(conn *net.UnixConn) (*os.File, error) {
	conn.SetDeadline(time.Now().Add(joinTime))
	key, oob := make([]byte, len(d.key)+1), make([]byte, unix.CmsgSpace(4*4))
	n, oobn, _, _, err := conn.ReadMsgUnix(key, oob)
	if err != nil {
		return nil, err
	}
	files, err := passedFiles(oob[:oobn])
	if err == nil && len(files) != 1 {
		err = fmt.Errorf("%d files", len(files))
	}
	if err == nil && subtle.ConstantTimeCompare(key[:n], []byte(d.key)) != 1 {
		err = errors.New("the secret is wrong")
	}
	if err != nil {
		for _, f := range files {
			f.Close()
		}
		return nil, err
	}
	return files[0], nil
}

func passedFiles(oob []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // credentials
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "channel"))
		}
	}
	return files, nil
}

// join has a session join the receive whose secret its pusher sends. Only if it
// cannot, that is worth a line in the audit log: what comes of the receive has one.
func join(ctx context.Context, limits Limits, cl commandLine, f *streamFiller, stdin *os.File) error {
	secret, err := f.read(stream.Join)
	if errors.Is(err, stream.ErrEnded) {
		return nil // the pusher is done without it
	}
	if err != nil {
		return err
	}
	entry := audit.NewEntry()
	entry.Repository, entry.Transport, entry.Joins = cl.Repo, "stream", true
	return limits.within(ctx, entry, func(at *locate.Location, _ *config.Config, _ []string, _ *ledger) (totals report.Totals, err error) {
		conn, err := knock(at, string(secret), stdin)
		if err != nil {
			return totals, fmt.Errorf("join a push: %w", err)
		}
		defer conn.Close()
		if err := f.conn.Write(stream.Joined, nil); err != nil {
			return totals, err
		}
		// The other receiver has our standard input until it closes this.
		context.AfterFunc(ctx, func() { conn.Close() })
		io.Copy(io.Discard, conn)
		return totals, nil
	})
}

// knock hands our standard input to the receiver that holds the quarantine of
// that secret.
func knock(at *locate.Location, secret string, stdin *os.File) (*net.UnixConn, error) {
	errNone := errors.New("there is no such push")
	name, key, _ := strings.Cut(secret, "/")
	if key == "" {
		return nil, errNone
	}
	dir, err := quarantine.OpenDir(at.Path(), name)
	if err != nil {
		return nil, errNone
	}
	defer dir.Close()
	conn, err := net.DialUnix("unix", nil, socketIn(dir))
	if err != nil {
		return nil, errNone
	}
	conn.SetDeadline(time.Now().Add(joinTime))
	answer := make([]byte, 200)
	_, _, err = conn.WriteMsgUnix([]byte(key), unix.UnixRights(int(stdin.Fd())), nil)
	n := 0
	if err == nil {
		n, err = conn.Read(answer)
	}
	if err == nil && string(answer[:n]) != joined {
		err = errors.New(report.Printable(string(answer[:n])))
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	return conn, nil
}

// sendHello tells the pusher how to join.
func (f *streamFiller) sendHello(q *quarantine.Quarantine) error {
	var hello stream.HelloMessage
	var err error
	if f.door, err = openDoor(q); err == nil {
		hello.Join = f.door.secret(q)
	} else {
		f.r.sink.Log(report.Debug, fmt.Sprintf("No further channels: %v", err))
	}
	payload, err := json.Marshal(hello)
	if err != nil {
		return err
	}
	return f.conn.Write(stream.Hello, payload)
}
