// Package audit keeps an account of what was received: a line of JSON for each
// receive, whatever came of it, and one of what is intended before its refs move, which
// is all that a receiver leaves that is killed then.
package audit

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/syslog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"ostree-push/report"
)

// Syslog is the name of the log that is no file.
const Syslog = "syslog"

// Entry is one line.
type Entry struct {
	Time       time.Time `json:"time"` // when it began, UTC
	ID         string    `json:"id"`   // the same in all lines of a receive
	Account    string    `json:"account"`
	Connection string    `json:"connection,omitempty"` // SSH_CONNECTION: client, port, server, port
	Key        string    `json:"key,omitempty"`        // fingerprint, if sshd exposes it
	Repository string    `json:"repository"`           // as the pusher calls it
	Path       string    `json:"path,omitempty"`       // where that is
	Transport  string    `json:"transport"`            // stream, tunnel, http, https, file, protocol-0 or update
	Asked      []string  `json:"asked,omitempty"`      // the refs that were named
	DryRun     bool      `json:"dry_run,omitempty"`
	Refs       []Ref     `json:"refs"`
	Omitted    int       `json:"omitted,omitempty"` // so many refs more than the log takes
	Verdict    Verdict   `json:"verdict"`
	Error      string    `json:"error,omitempty"`
	Bytes      int64     `json:"bytes"`
	Seconds    float64   `json:"seconds"`

	Joins bool `json:"joins,omitempty"` // it was to join another receive
}

// Ref is what became of a ref.
type Ref struct {
	Ref      string `json:"ref"`
	Old      string `json:"old,omitempty"`
	New      string `json:"new,omitempty"`
	Received string `json:"received,omitempty"`
	Verdict  string `json:"verdict"`
}

// Verdict is what became of the whole.
type Verdict string

const (
	Intended  Verdict = "intended"  // refs are about to move; a line that says what came of it follows, unless the receiver dies
	Accepted  Verdict = "accepted"  // refs have moved, even if there is an error
	Unchanged Verdict = "unchanged" // there was nothing to do, or it was a dry run
	Refused   Verdict = "refused"   // nothing has moved, and the error says why
	Updated   Verdict = "updated"   // by hand: nothing has been received, but the metadata is updated
)

// ByHand is the transport of what is done without receiving anything.
const ByHand = "update"

// Signed is what is said of a ref whose commit has been signed by hand.
const Signed = "signed"

// idLength is how many characters, of 5 random bits each, the ID of a receive has.
const idLength = 16

// NewEntry returns an entry that begins now, of whoever called the program.
func NewEntry() *Entry {
	e := &Entry{
		Time:       time.Now().UTC(),
		ID:         rand.Text()[:idLength],
		Account:    fmt.Sprint(os.Geteuid()),
		Connection: os.Getenv("SSH_CONNECTION"),
		Key:        fingerprints(os.Getenv("SSH_USER_AUTH")),
		Refs:       []Ref{},
	}
	if u, err := user.Current(); err == nil {
		e.Account = u.Username
	}
	return e
}

// fingerprints returns those of the keys in the file that sshd makes with
// ExposeAuthInfo, which has lines such as "publickey ssh-ed25519 AAAA…".
func fingerprints(file string) string {
	if file == "" {
		return ""
	}
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	const most = 64 << 10
	content, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return ""
	}
	var all []string
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != "publickey" {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(fields[2])
		if err != nil {
			continue
		}
		// As ssh-keygen -l has it.
		sum := sha256.Sum256(key)
		all = append(all, "SHA256:"+base64.RawStdEncoding.EncodeToString(sum[:]))
	}
	return strings.Join(all, " ")
}

// Finish completes the entry when all is over.
func (e *Entry) Finish(err error) {
	e.Seconds = time.Since(e.Time).Seconds()
	if err != nil {
		e.Error = err.Error()
	}
	e.Verdict = Unchanged
	if e.Transport == ByHand && !e.DryRun {
		e.Verdict = Updated
	}
	if err != nil {
		e.Verdict = Refused
	}
	if e.Moved() {
		e.Verdict = Accepted
	}
}

// Moved reports whether a ref has moved.
func (e *Entry) Moved() bool {
	return !e.DryRun && slices.ContainsFunc(e.Refs, func(ref Ref) bool { return ref.New != "" && ref.New != ref.Old })
}

// Log is an open log. A nil Log takes nothing, and that is no error.
type Log struct {
	w    io.WriteCloser
	most int // bytes of a line; 0: any number
}

// Open opens the log called name: Syslog, the path of a file, or "" for none.
func Open(name string) (*Log, error) {
	switch name {
	case "":
		return nil, nil
	case Syslog:
		return openSyslog("", "")
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("audit_log: %w", err)
	}
	if err := reserve(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("audit_log: %w", err)
	}
	return &Log{w: f}, nil
}

// Check returns the error with which Open would fail, without making the file: whoever
// checks may not be the one who logs.
func Check(name string) error {
	if name == "" || name == Syslog {
		log, err := Open(name)
		log.Close()
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		dir := filepath.Dir(name)
		if err = unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
			err = &os.PathError{Op: "make a file in", Path: dir, Err: err}
		}
	} else if err == nil {
		err = reserve(f)
		f.Close()
	}
	if err != nil {
		return fmt.Errorf("audit_log: %w", err)
	}
	return nil
}

// reserve makes sure that there is room for a line.
func reserve(f *os.File) error {
	const room = 64 << 10
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, info.Size(), room)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "reserve room in", Path: f.Name(), Err: err}
	}
	return nil
}

// maxSyslog is what every syslog takes for a line.
const maxSyslog = 8000

// openSyslog opens the system's log, or the one at an address.
func openSyslog(network, address string) (*Log, error) {
	w, err := syslog.Dial(network, address, syslog.LOG_AUTH|syslog.LOG_INFO, "ostree-receive")
	if err != nil {
		return nil, fmt.Errorf("audit_log: %w", err)
	}
	return &Log{w, maxSyslog}, nil
}

// Write appends the entry, as one line.
func (l *Log) Write(e *Entry) error {
	if l == nil {
		return nil
	}
	line, err := e.line(l.most)
	if err == nil {
		_, err = l.w.Write(line)
	}
	if err != nil {
		return fmt.Errorf("audit_log: %w", err)
	}
	return nil
}

// Close closes the log.
func (l *Log) Close() {
	if l != nil {
		l.w.Close()
	}
}

// line returns the entry in at most so many bytes, as far as leaving refs out
// can bring that about.
func (e *Entry) line(most int) ([]byte, error) {
	short := *e
	for {
		line, err := json.Marshal(short)
		if err != nil {
			return nil, err
		}
		line = append(ascii(line), '\n')
		if most == 0 || len(line) <= most {
			return line, nil
		}
		switch {
		case len(short.Refs) > 0:
			short.Omitted += (len(short.Refs) + 1) / 2
			short.Refs = short.Refs[:len(short.Refs)/2]
		case len(short.Asked) > 0:
			short.Asked = short.Asked[:len(short.Asked)/2]
		default:
			const some = 500
			short.Error = report.Shortened(short.Error, some)
			short.Repository = report.Shortened(short.Repository, some)
			short.Path = report.Shortened(short.Path, some)
			most = 0
		}
	}
}

// ascii escapes what JSON leaves as it is, but could do something to a terminal
// that shows the log.
func ascii(text []byte) []byte {
	var out bytes.Buffer
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		switch {
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		case r >= 0x7f:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}
