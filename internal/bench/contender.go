package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kballard/go-shellquote"

	"ostree-push/internal/link"
	"ostree-push/internal/sshd"
)

// The names of the contenders. The ssh alone is what sets up a connection and
// does nothing with it.
const (
	ours         = "ours"
	before       = "before"
	tunnel       = "tunnel"
	tunnelPython = "tunnel-python"
	python       = "python"
	rsync        = "rsync"
	rsyncSync    = "rsync-sync"
	ssh          = "ssh"
)

func contenderNames() []string {
	return []string{ours, before, tunnel, tunnelPython, python, rsync, rsyncSync}
}

// onlyObjects tells whether a contender copies objects, and knows nothing of refs.
func onlyObjects(contender string) bool { return contender == rsync || contender == rsyncSync }

// A contender is a program that brings objects to another machine. Each has a
// server of its own, on which only its own receiver is found.
type contender struct {
	name    string
	program string
	bin     string // directory of the commands that its server runs
	server  *sshd.Server
}

// takesPart tells whether a case is for the contender.
func (c *contender) takesPart(name string) bool {
	if name == "setup" || c.name == ssh {
		return name == "setup" && c.name == ssh
	}
	return c.name == ours || c.name == before || !pushes()[name].oursOnly
}

// startContenders finds the contenders and starts their servers. It returns
// those that were started even if there is an error.
func startContenders(opts *options, work string) ([]*contender, error) {
	names := opts.contenders
	if slices.Contains(opts.cases, "setup") {
		names = append(slices.Clone(names), ssh)
	}
	var found []*contender
	for _, name := range names {
		bin := filepath.Join(work, "bin-"+name)
		if err := os.Mkdir(bin, 0o755); err != nil {
			return found, err
		}
		program, err := install(opts, name, bin)
		if err != nil {
			logf("without %s: %v", name, err)
			continue
		}
		dir := filepath.Join(work, "sshd-"+name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return found, err
		}
		server, err := sshd.Start(sshd.Config{Dir: dir, Path: bin + ":/usr/bin:/bin",
			Env: []string{"OSTREE_RECEIVE_CONF=" + receiveConfig(bin)}})
		if err != nil {
			return found, err
		}
		found = append(found, &contender{name, program, bin, server})
	}
	if len(found) == 0 {
		return nil, errors.New("no contender is there")
	}
	return found, nil
}

// install returns the program of a contender, and makes bin a directory with
// the commands that it runs on the server.
func install(opts *options, name, bin string) (program string, err error) {
	var pusher, receiver string
	switch name {
	case rsync, ssh:
		program, err := exec.LookPath(name)
		if err != nil {
			return "", err
		}
		return program, opts.provide(bin, name, program)
	case rsyncSync:
		program, err := exec.LookPath(rsync)
		if err != nil {
			return "", err
		}
		return program, writeSyncScript(bin, program)
	case ours, tunnel:
		pusher, err = oursDir(opts)
		receiver = pusher
	case before:
		pusher, err = beforeDir(opts)
		receiver = pusher
	case tunnelPython:
		if pusher, err = oursDir(opts); err == nil {
			receiver, err = pythonDir(opts)
		}
	case python:
		pusher, err = pythonDir(opts)
		receiver = pusher
	}
	if err != nil {
		return "", err
	}
	return filepath.Join(pusher, "ostree-push"), opts.provideReceivers(bin, receiver)
}

func oursDir(opts *options) (string, error) {
	if opts.ours == "" {
		return "", errors.New("-ours tells no directory")
	}
	return filepath.Abs(opts.ours)
}

func beforeDir(opts *options) (string, error) {
	if opts.before == "" {
		return "", errors.New("-before tells no directory")
	}
	return filepath.Abs(opts.before)
}

func pythonDir(opts *options) (string, error) {
	dir, err := filepath.Abs(opts.python)
	if err != nil {
		return "", err
	}
	return dir, isPython(filepath.Join(dir, "ostree-push"))
}

func isPython(program string) error {
	f, err := os.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	line, _ := bufio.NewReader(f).ReadString('\n')
	if !strings.HasPrefix(line, "#!") || !strings.Contains(line, "python") {
		return fmt.Errorf("%s is not the Python program", program)
	}
	return nil
}

// provideReceivers makes the receivers of dir commands in bin. The Python program
// has ostree-receive-1 since a later version only.
func (opts *options) provideReceivers(bin, dir string) error {
	found := 0
	for _, command := range []string{"ostree-receive", "ostree-receive-1"} {
		path := filepath.Join(dir, command)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if err := opts.provide(bin, command, path); err != nil {
			return err
		}
		found++
	}
	if found == 0 {
		return fmt.Errorf("%s has no ostree-receive", dir)
	}
	return nil
}

// provide makes a program a command in bin.
func (opts *options) provide(bin, command, program string) error {
	if opts.memory {
		return writePeakScript(bin, command, program)
	}
	return os.Symlink(program, filepath.Join(bin, command))
}

// writeSyncScript makes the command that rsyncSync runs on the server. It receives, and then has the
// file system of its last argument, which is where to, write everything to the disk: what ours
// promises when it ends. This takes no further session of ssh, and no round trip.
func writeSyncScript(bin, program string) error {
	script := fmt.Sprintf("#!/bin/sh\n%s \"$@\" || exit\nfor to; do :; done\nexec sync -f \"$to\"\n", shellquote.Join(program))
	return os.WriteFile(filepath.Join(bin, rsyncSync), []byte(script), 0o755)
}

// command returns the arguments with which the contender pushes to the server
// behind a port.
func (c *contender) command(port int, p push, from, to string) []string {
	options := c.server.ClientOptionsVia(port)
	host := c.server.User() + "@" + c.server.Host()
	var mode []string
	if p.dry {
		mode = append(mode, "-n")
	}
	switch c.name {
	case ssh:
		return slices.Concat([]string{c.program}, options, []string{host, "true"})
	case rsync, rsyncSync:
		return slices.Concat([]string{c.program, "-a", "--rsync-path=" + c.name}, mode, []string{"-e", "ssh " + strings.Join(options, " "),
			filepath.Join(from, "objects") + "/", host + ":" + filepath.Join(to, "objects") + "/"})
	case tunnel, tunnelPython:
		mode = append(mode, "--transport=tunnel")
	}
	args := slices.Concat([]string{c.program}, mode, options, []string{"--repo=" + from, host + ":" + to})
	if p.all {
		return args
	}
	return append(args, ref)
}

// configure writes what the contender's receivers go by. Python's takes it, too, as long as it is empty.
func (c *contender) configure(p push) error {
	var config string
	if p.noUpdate {
		config = "update = false\n"
	}
	return os.WriteFile(receiveConfig(c.bin), []byte(config), 0o644)
}

func receiveConfig(bin string) string { return filepath.Join(bin, "receive.toml") }

// errTimeout is the outcome of a run that was ended for taking too long.
var errTimeout = errors.New("timed out")

// run runs a command to its end, or to that of the timeout, and returns how
// long that took. Nothing that it started is left.
func (c *contender) run(ctx context.Context, timeout time.Duration, args []string, work string) (time.Duration, error) {
	// A file, since a pipe is open as long as anybody holds it.
	output, err := os.CreateTemp(work, "output-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(output.Name())
	defer output.Close()

	timed, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := groupCommand(timed, args)
	cmd.Stdout = output
	cmd.Stderr = output

	start := time.Now()
	err = cmd.Run()
	took := time.Since(start)

	if cmd.Process != nil {
		cmd.Cancel() // there may be none left to kill
	}
	if err := c.server.KillSessions(); err != nil {
		return 0, err
	}
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case timed.Err() != nil:
		return 0, errTimeout
	case err != nil:
		text, _ := os.ReadFile(output.Name())
		logf("%s failed:\n%s\nThe end of its server's log:\n%s", c.name, text, lastLines(c.server.Log(), 20))
		return 0, fmt.Errorf("%w: %s", err, lastLines(string(text), 1))
	}
	return took, nil
}

// groupCommand returns a command that is killed with all that it started.
func groupCommand(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// kill runs a command until so many bytes have come out of the link, kills it with all that it
// started, and returns how many it were by then. Its sessions are left alone.
func (c *contender) kill(ctx context.Context, timeout time.Duration, args []string, proxy *link.Proxy, bytes int64) (int64, error) {
	timed, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := groupCommand(timed, args)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	reached := make(chan int64, 1)
	go func() {
		if proxy.WaitDelivered(timed, bytes) == nil {
			reached <- proxy.Delivered()
			cancel()
		}
	}()
	err := cmd.Wait()
	switch {
	case len(reached) > 0:
		return <-reached, nil
	case timed.Err() != nil:
		return 0, errTimeout
	}
	return 0, fmt.Errorf("it has ended before %d bytes had passed (%v)", bytes, err)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
