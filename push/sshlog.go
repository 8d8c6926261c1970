package push

import (
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"

	"ostree-push/report"
)

// sshLog is what the master connection logs. It comes through a pipe with a name, and
// not as standard error, since ssh has a security key's owner touch it only by a terminal
// that is its standard error.
type sshLog struct {
	text  *report.Text
	path  string
	read  *os.File
	write *os.File // without a writer, there would be an end

	done   chan struct{}
	held   []string // lines that may not be worth a word
	early  bool     // the server closed the connection before the key exchange
	direct bool     // it was the server, and not what leads there
	said   bool     // something else
}

var (
	closedEarly = regexp.MustCompile(`\A(?:kex|ssh)_exchange_identification: .*(?i:closed|reset|broken pipe|not allowed|exceeded)`)
	// inExchange is what LogVerbose has ssh say of the function, whatever its LogLevel (quietOptions).
	inExchange = regexp.MustCompile(`\A(debug[123]: )?kex\.c:kex_exchange_identification\(\):[0-9]+ \([^)]*\): (.*)\z`)
	// failedIO is what of that is an error, though it is only said to debug.
	failedIO = regexp.MustCompile(`\A(?:read|write): `)
	closedBy = regexp.MustCompile(`\AConnection (?:closed|reset) by `)
	// resetFirst is all that is said where the connection was reset even before that.
	resetFirst = regexp.MustCompile(`\AConnection reset by (?:UNKNOWN port -1|[0-9a-fA-F.:]+ port [0-9]+)\z`)
	// closedProxy is said where a ProxyCommand or a jump host is between.
	closedProxy = regexp.MustCompile(`\AConnection (?:closed|reset) by UNKNOWN port 65535\z`)
)

// newSSHLog makes the pipe, in a directory.
func newSSHLog(dir string, text *report.Text) (*sshLog, error) {
	l := &sshLog{text: text, path: filepath.Join(dir, "log"), done: make(chan struct{})}
	if err := unix.Mkfifo(l.path, 0o600); err != nil {
		return nil, &os.PathError{Op: "mkfifo", Path: l.path, Err: err}
	}
	var err error
	if l.read, err = os.OpenFile(l.path, os.O_RDONLY|unix.O_NONBLOCK, 0); err != nil {
		return nil, err
	}
	if l.write, err = os.OpenFile(l.path, os.O_WRONLY|unix.O_NONBLOCK, 0); err != nil {
		l.read.Close()
		return nil, err
	}
	go func() {
		defer close(l.done)
		lines := report.NewLines(l.line)
		buf := make([]byte, 4096)
		for {
			n, err := l.read.Read(buf)
			lines.Write(buf[:n])
			if err != nil {
				lines.Flush()
				return
			}
		}
	}()
	return l, nil
}

func (l *sshLog) line(line string) {
	if m := inExchange.FindStringSubmatch(line); m != nil {
		if m[1] != "" && !failedIO.MatchString(m[2]) {
			return
		}
		line = "kex_exchange_identification: " + m[2]
	}
	switch {
	case closedEarly.MatchString(line):
		l.early = true
	case !l.said && !l.early && resetFirst.MatchString(line):
		l.early, l.direct = true, true
	case l.early && closedBy.MatchString(line):
		l.direct = !closedProxy.MatchString(line)
	default:
		l.said = true
		l.text.Println(line)
		return
	}
	l.held = append(l.held, line)
}

// end waits for the last of it, when the master has ended, and reports whether the server did not
// want to talk at all.
func (l *sshLog) end() (early bool) {
	l.close()
	return l.early && l.direct
}

// show shows what has been held back.
func (l *sshLog) show() {
	for _, line := range l.held {
		l.text.Println(line)
	}
	l.held = nil
}

func (l *sshLog) close() {
	l.write.Close()
	// A ProxyCommand that has outlived the master may still have the pipe.
	if !waitFor(l.done, closeTime) {
		l.read.Close()
		<-l.done
	}
	l.read.Close()
}
