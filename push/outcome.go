package push

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"ostree-push/cli"
	"ostree-push/report"
	"ostree-push/stream"
)

// outcome is how a remote command ended.
type outcome struct {
	status   int
	greeting greeting
	hold     *holder  // what it printed, but for noise
	noise    []byte   // what came on standard output before a greeting, or instead of it
	said     []string // the last lines that were no events
	crash    string   // the first line of what a program of ours says when it crashes
}

// greeting is whether the command has begun as a receiver does.
type greeting int

const (
	notGreeted   greeting = iota // it may be no receiver
	greeted                      // it is one of ours
	noneExpected                 // with this transport, receivers do not
)

// ended notes the exit status of the command, if err is one. Otherwise it returns err.
func (o *outcome) ended(err error) error {
	var exit *exitError
	if !errors.As(err, &exit) {
		return err
	}
	o.status = exit.status
	return nil
}

var (
	// cannotLoad is what loaders say of a program that lacks a library. Shells have the same exit
	// status for a command that does not exist.
	cannotLoad = regexp.MustCompile(`(?i)loading shared librar|symbol lookup error|error relocating`)

	// notAURL is what a receiver says that takes "-" for a URL: the Python program ends with
	// an exception of GLib's.
	notAURL = regexp.MustCompile(`Traceback \(most recent call last\)|\bg-[a-z-]+-quark\b|\bUR[IL]\b`)
)

// notFound reports whether the command does not exist.
func (o outcome) notFound() bool {
	return o.greeting != greeted && o.status == commandNotFound && !cannotLoad.MatchString(strings.Join(o.said, "\n"))
}

// fromOldReceiver reports whether what did not greet may be a receiver that does not know the
// stream, or not this version of it.
func (o outcome) fromOldReceiver() bool {
	if o.greeting != notGreeted {
		return false
	}
	said := strings.Join(o.said, "\n")
	version := strings.TrimRight(stream.Greeting, "0123456789\n")
	return o.status == cli.ExitFailed && notAURL.MatchString(said) || strings.Contains(string(o.noise), version)
}

// failure says why a command has failed, nil if it has not.
func (r *remote) failure(name string, o outcome) error {
	if end := r.said.end(); end != nil && end.Error != "" {
		err := fmt.Errorf("on the server: %s", report.Printable(strings.ReplaceAll(end.Error, "\n", "; ")))
		for i := len(end.Hints) - 1; i >= 0; i-- {
			err = cli.Hint(err, "%s", report.Printable(end.Hints[i]))
		}
		return err
	}
	switch {
	case o.greeting == notGreeted && o.status == 0:
		return o.startUpHint(o.because(fmt.Errorf("%s on the server does not begin as a receiver does", name)))
	case o.greeting == greeted && o.status == 0 && r.said.end() == nil:
		return fmt.Errorf("%s on the server has not said how it ended", name)
	case o.status == 0:
		return nil
	case o.crash != "":
		return cli.Hint(fmt.Errorf("%s crashed on the server with exit status %d: %s", name, o.status, report.Printable(o.crash)),
			"where it is about memory, the limits of the account or of the machine are too low for this push")
	case o.greeting != notGreeted && (o.status == sshFailed || isSignal(o.status)):
		return cli.Hint(fmt.Errorf("%s was ended on the server by %s", name, signalOf(o.status)),
			"the server's log may say who did that: the kernel does where memory is short")
	}
	return o.startUpHint(o.because(fmt.Errorf("%s failed on the server with exit status %d", name, o.status)))
}

// isSignal reports whether a shell has that exit status if a signal ended its command.
func isSignal(status int) bool {
	const base, most = 128, 64
	return status > base && status <= base+most
}

func signalOf(status int) string {
	if !isSignal(status) {
		return "a signal, or with its session"
	}
	return fmt.Sprintf("signal %d (%v)", status-128, unix.Signal(status-128))
}

// because adds what the server said last to an error.
func (o outcome) because(err error) error {
	if len(o.said) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s", err, o.said[len(o.said)-1])
}

// startUpHint adds what may have come between us and a greeting.
func (o outcome) startUpHint(err error) error {
	switch {
	case len(o.noise) > stream.MaxNoise:
		return cli.Hint(err, "a start-up file of the account (.bashrc and the like) prints too much: it should print nothing where there is no terminal")
	case len(o.noise) > 0:
		return cli.Hint(err, "the account on the server may not be one that can receive; if a start-up file of it (.bashrc and the like) prints this, it should print nothing where there is no terminal")
	case len(o.said) == 0 && o.greeting != greeted:
		return cli.Hint(err, "the account on the server has to be able to run the receiver: ssh to it and try that")
	}
	return err
}

// hinted adds what can be done after an error that interrupted the push.
func (r *remote) hinted(o outcome, err error) error {
	var (
		lost   *lostError
		silent *silentError
	)
	killed := r.said.end() == nil && o.greeting != notGreeted && (o.status == sshFailed || isSignal(o.status))
	switch {
	case errors.As(err, &silent):
		return cli.Hint(err, "push again when the server works; that shows what has become of the refs as well")
	case !errors.As(err, &lost) && !killed:
		return err
	case o.greeting == greeted && r.moved() == report.MovedNo && r.current.resumable():
		return cli.Hint(err, "push again: what has arrived is not sent again")
	}
	return cli.Hint(err, "push again: that shows what has become of the refs as well")
}

// moved is what is known of the refs on the server.
func (r *remote) moved() report.Moved {
	end := r.said.end()
	switch {
	case r.dryRun:
		return report.MovedNo
	case r.said.refMoved() || end != nil && end.Moved:
		return report.MovedYes
	case end != nil:
		return report.MovedNo
	}
	for _, t := range r.transports {
		if t.mayMove() {
			return report.MovedUnknown
		}
	}
	return report.MovedNo
}

// remoteErrors is the standard error of a remote command.
type remoteErrors struct {
	lines *report.Lines
	tail  *report.Tail
	crash string
}

// crashed begins what Go's runtime prints when a program of ours crashes.
var crashed = regexp.MustCompile(`\A(?:fatal error: |panic: |runtime: |runtime/cgo: |SIG[A-Z]+: )`)

// newRemoteErrors has the lines written to w. Of a crash, which goes on with the state of
// all threads, those after the first go to debug.
func newRemoteErrors(w, debug io.Writer) *remoteErrors {
	e := &remoteErrors{tail: report.NewTail()}
	e.lines = report.NewLines(func(line string) {
		to := w
		if e.crash != "" {
			to = debug
		} else if crashed.MatchString(line) {
			e.crash, to = line, debug
		}
		if e.crash == "" {
			io.WriteString(e.tail, line+"\n")
		}
		io.WriteString(to, line+"\n")
	})
	return e
}

func (e *remoteErrors) Write(p []byte) (int, error) { return e.lines.Write(p) }

// end returns the last lines, and the first one of a crash.
func (e *remoteErrors) end() (said []string, crash string) {
	e.lines.Flush()
	return e.tail.Lines(), e.crash
}
