package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"
	"golang.org/x/sys/unix"

	"ostree-push/cli"
	"ostree-push/report"
)

// connection is a master connection of OpenSSH's ssh: the user's own client,
// with the user's configuration, agent and keys.
type connection struct {
	dest    dest
	options []string
	text    *report.Text

	dir    string // private; holds the control socket
	socket string
	master *exec.Cmd
	exited chan struct{} // closed when the master has ended
}

// signalTime is how long a signal to all processes may take to reach us.
const signalTime = 200 * time.Millisecond

// closeTime is how long ssh may take to end after it was told to.
const closeTime = 2 * time.Second

// connect starts the master connection and waits until it is ready. Whatever
// ssh has to say or to ask goes to the user directly.
func connect(ctx context.Context, d dest, options []string, text *report.Text) (_ *connection, err error) {
	dir, err := os.MkdirTemp("", "ostree-push-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the ssh connection: %w", err)
	}
	c := &connection{
		dest: d, options: options, text: text,
		dir:    dir,
		socket: filepath.Join(dir, "s"), // short, as there are but 107 bytes for the path
		exited: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	ready, err := watchForFile(c.socket)
	if err != nil {
		return nil, fmt.Errorf("watch for the ssh connection: %w", err)
	}
	defer ready.stop()

	var words []string
	if d.port != 0 {
		words = append(words, "-p", strconv.Itoa(d.port))
	}
	words = append(words, options...)
	args := append([]string{"-N", "-M", "-S", c.socket,
		// A user's configuration may have it stay on in the background.
		"-o", "ControlPersist=no",
	}, words...)
	c.master = command(append(args, "--", d.sshHost()))
	c.master.Stdout = os.Stderr
	c.master.Stderr = os.Stderr
	text.Log(report.Debug, "Starting "+strings.Join(c.master.Args, " "))
	if err := c.master.Start(); err != nil {
		close(c.exited)
		return nil, fmt.Errorf("start ssh: %w", err)
	}
	go func() {
		c.master.Wait()
		close(c.exited)
	}()

	select {
	case err := <-ready.done:
		if err != nil {
			return nil, fmt.Errorf("watch for the ssh connection: %w", err)
		}
		return c, nil
	case <-c.exited:
		return nil, cli.Hint(fmt.Errorf("connect to %s: ssh ended with %v", d.sshHost(), c.master.ProcessState),
			"what has to connect first is: ssh %s", shellquote.Join(append(words, d.sshHost())...))
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// command returns an ssh that ends with us, however we end.
func command(args []string) *exec.Cmd {
	cmd := exec.Command("ssh", args...)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGTERM}
	return cmd
}

// slave returns the arguments of an ssh that uses the master connection.
func (c *connection) slave(args ...string) []string {
	all := append([]string{"-S", c.socket,
		// Without a master, these would open a connection of their own.
		"-o", "ControlMaster=no", "-o", "ProxyCommand=false",
	}, args...)
	return append(all, c.options...)
}

// forward has the server forward a port of its choice to our local one, and
// returns it. The port is asked for on 127.0.0.1 by name: otherwise sshd chooses
// one that is free on ::1, and does not say when it is taken on 127.0.0.1, so
// that the receiver would talk to whatever is there.
func (c *connection) forward(ctx context.Context, local int) (remote int, err error) {
	cmd := command(append(c.slave("-O", "forward", "-R", fmt.Sprintf("127.0.0.1:0:127.0.0.1:%d", local)), "--", c.dest.sshHost()))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := c.wait(ctx, cmd); err != nil {
		if ctx.Err() != nil {
			return 0, err
		}
		return 0, cli.Hint(fmt.Errorf("forward a port of %s: %s", c.dest.host, strings.ReplaceAll(strings.TrimSpace(stderr.String()), "\n", "; ")),
			"the receiver there needs a forwarded port: allow it (AllowTcpForwarding in sshd_config(5), restrict in authorized_keys), or install a newer ostree-push there")
	}
	remote, err = strconv.Atoi(strings.TrimSpace(stdout.String()))
	if err != nil || remote <= 0 || remote > 65535 {
		return 0, fmt.Errorf("forward a port of %s: ssh printed %q, not a port", c.dest.host, stdout.String())
	}
	return remote, nil
}

// exitError is the exit status of the remote command.
type exitError struct{ status int }

func (e *exitError) Error() string { return fmt.Sprintf("exit status %d", e.status) }

// sshFailed is the exit status of ssh for failures of its own.
const sshFailed = 255

// commandNotFound is what a shell's exit status says of a command that does
// not exist.
const commandNotFound = 127

// run runs a command line on the remote host.
func (c *connection) run(ctx context.Context, line string, stdout, stderr io.Writer) error {
	return c.runWith(ctx, line, nil, stdout, stderr, func() {})
}

// talk runs a command line on the remote host, and do, which has its standard
// input and output.
func (c *connection) talk(ctx context.Context, line string, stderr io.Writer, do func(stdin io.WriteCloser, stdout io.Reader)) error {
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer inWrite.Close()
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		inRead.Close()
		return err
	}
	done := make(chan struct{})
	started := false
	err = c.runWith(ctx, line, inRead, outWrite, stderr, func() {
		started = true
		inRead.Close()
		outWrite.Close()
		go func() {
			defer close(done)
			do(inWrite, outRead)
		}()
	})
	if started {
		// Nobody answers any more. The master may keep its copies a little longer.
		inWrite.Close()
		outRead.SetReadDeadline(time.Now().Add(closeTime))
		<-done
	} else {
		inRead.Close()
		outWrite.Close()
	}
	outRead.Close()
	return err
}

func (c *connection) runWith(ctx context.Context, line string, stdin io.Reader, stdout, stderr io.Writer, started func()) error {
	cmd := command(append(c.slave("-T", "-o", "RemoteCommand=none"), "--", c.dest.sshHost(), line))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	// The master has copies of the pipes to these.
	cmd.WaitDelay = closeTime
	c.text.Log(report.Debug, "Executing "+line)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start ssh: %w", err)
	}
	started()
	err := c.waitFor(ctx, cmd)
	var exit *exec.ExitError
	if ctx.Err() != nil || !errors.As(err, &exit) {
		return err
	}
	if !exit.Exited() || exit.ExitCode() == sshFailed && c.lost() {
		// A Ctrl-C ends ssh as well, and may reach it first.
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(signalTime):
		}
		return cli.Hint(fmt.Errorf("the connection to %s is lost", c.dest.host), "push again: what has arrived in a stream is not sent again")
	}
	return &exitError{exit.ExitCode()}
}

// lost reports whether the master connection has ended. An ssh that uses it
// ends at the same moment.
func (c *connection) lost() bool {
	timer := time.NewTimer(closeTime)
	defer timer.Stop()
	select {
	case <-c.exited:
		return true
	case <-timer.C:
		return false
	}
}

// wait runs an ssh that uses the master, as long as ctx and the master last.
func (c *connection) wait(ctx context.Context, cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start ssh: %w", err)
	}
	return c.waitFor(ctx, cmd)
}

// waitFor waits for one that has been started.
func (c *connection) waitFor(ctx context.Context, cmd *exec.Cmd) error {
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		// The master has the other end of the pipes that cmd waits for.
		c.stopMaster()
		terminate(cmd.Process, done)
		return context.Cause(ctx)
	}
}

// close ends the connection, and with it everything that uses it.
func (c *connection) close() {
	c.stopMaster()
	os.RemoveAll(c.dir)
}

func (c *connection) stopMaster() {
	if c.master != nil && c.master.Process != nil {
		terminate(c.master.Process, c.exited)
	}
}

// terminate ends a process: with SIGTERM, so that it can clean up, and if that
// takes too long, with SIGKILL. The SIGTERM is repeated, since ssh misses one
// that comes just before it begins to wait for something.
func terminate[T any](p *os.Process, ended <-chan T) {
	const repeat = 50 * time.Millisecond
	ticker := time.NewTicker(repeat)
	defer ticker.Stop()
	for range closeTime / repeat {
		p.Signal(unix.SIGTERM)
		select {
		case <-ended:
			return
		case <-ticker.C:
		}
	}
	p.Kill()
	<-ended
}
