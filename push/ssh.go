package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"
	"golang.org/x/sys/unix"

	"ostree-push/cli"
	"ostree-push/report"
)

// sshConnection is a master connection of OpenSSH's ssh: the user's own client,
// with the user's configuration, agent and keys.
type sshConnection struct {
	dest    dest
	options []string // of the user
	quiet   []string // keep the user's configuration from what a session cannot have
	text    *report.Text

	dir    string // private; holds the control socket
	socket string
	log    *sshLog
	master *exec.Cmd
	exited chan struct{} // closed when the master has ended
}

const (
	// signalTime is how long a signal to all processes may take to reach us.
	signalTime = 200 * time.Millisecond
	// closeTime is how long ssh may take to end after it was told to.
	closeTime = 2 * time.Second

	// connectTries is how often the connection is tried if the server closes it at once, as
	// sshd does with some when there are more than its MaxStartups.
	connectTries = 6
	// firstPause is about the time to the second try. Each pause is twice the one before.
	firstPause = 500 * time.Millisecond
)

// errClosedEarly says that the server closed the connection before the key exchange.
var errClosedEarly = errors.New("the server closed the connection before the key exchange")

// connect starts the master connection and waits until it is ready. Whatever
// ssh has to say or to ask goes to the user directly.
func connect(ctx context.Context, d dest, options []string, text *report.Text) (*sshConnection, error) {
	quiet := quietOptions(ctx)
	for try, pause := 1, firstPause; ; try, pause = try+1, 2*pause {
		c := &sshConnection{dest: d, options: options, quiet: quiet, text: text, exited: make(chan struct{})}
		err := c.start(ctx)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, errClosedEarly) || try == connectTries {
			if c.log != nil {
				c.log.show()
			}
			return nil, err
		}
		// Those that were closed at the same moment are not to come back at the same moment.
		wait := pause/2 + rand.N(pause)
		text.Log(report.Info, fmt.Sprintf("%s closed the connection before the key exchange: trying again in %.1f s", d.host, wait.Seconds()))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// start starts the master connection once. After an error, nothing of it is left.
func (c *sshConnection) start(ctx context.Context) (err error) {
	if c.dir, err = socketDir(); err != nil {
		return err
	}
	c.socket = filepath.Join(c.dir, socketName)
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.log, err = newSSHLog(c.dir, c.text); err != nil {
		return fmt.Errorf("read what ssh logs: %w", err)
	}
	ready, err := watchForFile(c.socket)
	if err != nil {
		return fmt.Errorf("watch for the ssh connection: %w", err)
	}
	defer ready.stop()

	c.master = command(c.masterArgs())
	c.master.Stdout = os.Stderr
	c.master.Stderr = os.Stderr
	c.text.Log(report.Debug, "Starting "+strings.Join(c.master.Args, " "))
	if err := c.master.Start(); err != nil {
		close(c.exited)
		return fmt.Errorf("start ssh: %w", err)
	}
	go func() {
		c.master.Wait()
		close(c.exited)
	}()

	select {
	case err := <-ready.done:
		if err != nil {
			return fmt.Errorf("watch for the ssh connection: %w", err)
		}
		return nil
	case <-c.exited:
		return c.failure()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// userArgs are the options that say how to connect.
func (c *sshConnection) userArgs() []string {
	if c.dest.port == 0 {
		return c.options
	}
	return append([]string{"-p", strconv.Itoa(c.dest.port)}, c.options...)
}

// masterArgs are the arguments of the master. Of several values of an option ssh takes the
// first, and the command line goes before the configuration.
func (c *sshConnection) masterArgs() []string {
	args := []string{"-N", "-M", "-S", forSSH(c.socket), "-E", c.log.path,
		// A user's configuration may have it stay on in the background.
		"-o", "ControlPersist=no",
	}
	args = append(args, c.quiet...)
	args = append(args, c.userArgs()...)
	// A host that does not answer any more is noticed, unless the user wants it otherwise.
	args = append(args, "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4")
	return append(args, "--", c.dest.sshHost())
}

// failure says why the master has ended before it was ready.
func (c *sshConnection) failure() error {
	host := c.dest.sshHost()
	if c.log.end() {
		return cli.Hint(fmt.Errorf("connect to %s: %w, %d times", host, errClosedEarly, connectTries),
			"too many may be connecting to it at once: try later, or raise MaxStartups in its sshd_config(5)")
	}
	return cli.Hint(fmt.Errorf("connect to %s: ssh ended with %v", host, c.master.ProcessState),
		"what has to connect first is: ssh %s", shellquote.Join(append(c.userArgs(), host)...))
}

// quietOptions keep what a user's configuration has for a host from disturbing: forwardings,
// which may not be possible twice, a command, a terminal, and an ssh that goes to the
// background, where nobody would end it.
func quietOptions(ctx context.Context) []string {
	options := []string{"-T", "-x",
		"-o", "ClearAllForwardings=yes", "-o", "ExitOnForwardFailure=no", "-o", "RemoteCommand=none",
	}
	// Older versions have no such options, and do not start with them.
	if sshVersion(ctx) >= 807 {
		options = append(options, "-o", "ForkAfterAuthentication=no", "-o", "StdinNull=no", "-o", "SessionType=default",
			// Debian 13's does not say by itself that the server has closed the connection before the key exchange.
			"-o", "LogVerbose=kex.c:kex_exchange_identification():*")
	}
	return options
}

var sshVersionLine = regexp.MustCompile(`\AOpenSSH_([0-9]{1,3})\.([0-9]{1,2})`)

// sshVersion returns the version of OpenSSH, 807 for 8.7; 0 if it cannot be told.
func sshVersion(ctx context.Context) int {
	said, err := exec.CommandContext(ctx, "ssh", "-V").CombinedOutput()
	match := sshVersionLine.FindSubmatch(said)
	if err != nil || match == nil {
		return 0
	}
	major, _ := strconv.Atoi(string(match[1]))
	minor, _ := strconv.Atoi(string(match[2]))
	return 100*major + minor
}

// command returns an ssh that ends with us, however we end.
func command(args []string) *exec.Cmd {
	cmd := exec.Command("ssh", args...)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGTERM}
	return cmd
}

// sessionArgs are the arguments of an ssh that runs a command over the master connection.
func (c *sshConnection) sessionArgs(line string) []string {
	args := append([]string{"-S", forSSH(c.socket),
		// Without a master, these would open a connection of their own.
		"-o", "ControlMaster=no", "-o", "ProxyCommand=false",
	}, c.quiet...)
	args = append(args, c.options...)
	return append(args, "--", c.dest.sshHost(), line)
}

// forward has the master forward a port of the server. It is asked for on 127.0.0.1 by name: otherwise sshd chooses
// one that is free on ::1, and does not say when it is taken on 127.0.0.1, so
// that the receiver would talk to whatever is there.
func (c *sshConnection) forward(ctx context.Context, local int) (remote int, err error) {
	// Nothing but the socket matters here, and the user's forwardings would be asked for too.
	cmd := command([]string{"-F", "none", "-S", forSSH(c.socket), "-O", "forward",
		"-R", fmt.Sprintf("127.0.0.1:0:127.0.0.1:%d", local), "--", c.dest.sshHost()})
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

// sshFailed is the exit status of ssh for failures of its own.
const sshFailed = 255

func (c *sshConnection) run(ctx context.Context, command, args []string, stdout, stderr io.Writer) error {
	return c.runWith(ctx, remoteCommand(command, args), nil, stdout, stderr, func() {})
}

func (c *sshConnection) talk(ctx context.Context, command, args []string, stderr io.Writer, do talker) error {
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
	doing, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	started := false
	err = c.runWith(ctx, remoteCommand(command, args), inRead, outWrite, stderr, func() {
		started = true
		inRead.Close()
		outWrite.Close()
		go func() {
			defer close(done)
			do(doing, inWrite, outRead)
		}()
	})
	if started {
		// Nobody answers any more. The master may keep its copies a little longer.
		inWrite.Close()
		outRead.SetReadDeadline(time.Now().Add(closeTime))
		if !waitFor(done, closeTime) {
			cancel()
			<-done
		}
	} else {
		inRead.Close()
		outWrite.Close()
	}
	outRead.Close()
	return err
}

// runWith runs a command line on the remote host. started is called when ssh runs.
func (c *sshConnection) runWith(ctx context.Context, line string, stdin io.Reader, stdout, stderr io.Writer, started func()) error {
	cmd := command(c.sessionArgs(line))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	// The master has copies of the pipes to these.
	cmd.WaitDelay = closeTime
	c.text.Log(report.Debug, "Executing "+line)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start ssh: %w", err)
	}
	started()
	err := c.waitEnd(ctx, cmd)
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
		return &lostError{c.dest.host}
	}
	return &exitError{exit.ExitCode()}
}

// lost reports whether the master connection has ended. An ssh that uses it
// ends at the same moment.
func (c *sshConnection) lost() bool {
	return waitFor(c.exited, closeTime)
}

// waitFor waits until done is closed, but no longer than that, and reports whether it is.
func waitFor(done <-chan struct{}, most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// wait runs an ssh that uses the master, as long as ctx and the master last.
func (c *sshConnection) wait(ctx context.Context, cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start ssh: %w", err)
	}
	return c.waitEnd(ctx, cmd)
}

// waitEnd waits for one that has been started.
func (c *sshConnection) waitEnd(ctx context.Context, cmd *exec.Cmd) error {
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

func (c *sshConnection) close() {
	c.stopMaster()
	if c.log != nil {
		c.log.close()
	}
	os.RemoveAll(c.dir)
}

func (c *sshConnection) stopMaster() {
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
