package upload

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

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
	maxJoined = stream.MaxChannels - 1
)

// joined is what the receiver says to a session that may join.
const joined = "joined"

// joinListener is where sessions join a receive.
type joinListener struct {
	listener *net.UnixListener
	key      string // 128 random bits, in hexadecimal
}

// listenForJoins listens in the quarantine.
func listenForJoins(q *quarantine.Quarantine) (*joinListener, error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", socketIn(q.Dir()))
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // it goes with the quarantine, whose directory may be closed by then
	return &joinListener{listener, hex.EncodeToString(random[:])}, nil
}

// socketIn is the socket in an open directory. Its own path may be longer than
// the address of a socket can be.
func socketIn(dir *os.File) *net.UnixAddr {
	return &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), joinName)}
}

// secret is what a pusher has to know to join.
func (l *joinListener) secret(q *quarantine.Quarantine) string { return q.Name() + "/" + l.key }

func (l *joinListener) close() { l.listener.Close() }

// admit lets in who knows the secret, until the listener is closed. enter gets the standard input of
// the session, of which it is the owner from then on, and a function to call when
// it is through with it; its error is the reason why it is not wanted.
func (l *joinListener) admit(enter func(input *os.File, leave func()) error) {
	for {
		conn, err := l.listener.AcceptUnix()
		if err != nil {
			return
		}
		go func() {
			input, err := l.check(conn)
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
func (l *joinListener) check(conn *net.UnixConn) (*os.File, error) {
	conn.SetDeadline(time.Now().Add(joinTime))
	key, oob := make([]byte, len(l.key)+1), make([]byte, unix.CmsgSpace(4*4))
	n, oobn, _, _, err := conn.ReadMsgUnix(key, oob)
	if err != nil {
		return nil, err
	}
	files, err := passedFiles(oob[:oobn])
	if err == nil && len(files) != 1 {
		err = fmt.Errorf("%d files", len(files))
	}
	if err == nil && subtle.ConstantTimeCompare(key[:n], []byte(l.key)) != 1 {
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

// Join hands our standard input to the receiver that holds the quarantine of a secret, in the repository at a path.
// The connection that it returns ends when that receiver has read all of it, or has ended.
func Join(repo, secret string, stdin *os.File) (*net.UnixConn, error) {
	errNone := errors.New("there is no such push")
	name, key, _ := strings.Cut(secret, "/")
	if key == "" {
		return nil, errNone
	}
	dir, err := quarantine.OpenDir(repo, name)
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
func (f *Source) sendHello() error {
	var hello stream.Hello
	var err error
	if f.joins, err = listenForJoins(f.q); err == nil {
		hello.Join = f.joins.secret(f.q)
	} else {
		f.sink.Log(report.Debug, fmt.Sprintf("No further channels: %v", err))
	}
	return f.pusher.conn.Send(hello)
}
