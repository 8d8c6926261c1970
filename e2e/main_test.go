// Package e2e has tests of the programs as users run them: through real ssh, of real
// repositories, beside the programs of libostree, flatpak and GnuPG.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"ostree-push/internal/client0"
	"ostree-push/internal/link"
	"ostree-push/internal/otrepo"
	"ostree-push/internal/sshd"
	"ostree-push/push"
	"ostree-push/receive"
)

// With the race detector, each program would wait for a second when it ends.
const raceOptions = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	os.Setenv("GORACE", raceOptions)
	commands := map[string]func(){
		// push and peer-push are ours and Debian's ostree-push, told how to
		// reach the script's sshd.
		"push":      ourPush,
		"peer-push": peerPush,
		// impatient-push has less patience with a receiver that says nothing, and
		// ostree-receive-lively says more often that it is alive.
		"impatient-push": func() {
			os.Exit(push.MainPatient(2*time.Second, "ostree-push", ourArgs(), os.Stdin, os.Stdout, os.Stderr))
		},
		"ostree-receive-lively": func() {
			limits := receive.Limits{Beat: 200 * time.Millisecond}
			os.Exit(receive.MainWithin(limits, "ostree-receive-1", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
		// status runs a command, and says its exit status where a script can
		// see it.
		"status": status,
		// otrepo makes repositories and commits.
		"otrepo": otrepo.Main,
		// http-serve serves a directory.
		"http-serve": httpServe,
		// client0 is a client of protocol 0.
		"client0": client0.Main,
		// remote runs a command through ssh, quoted for its shell.
		"remote": remote,
		// peak runs a command, and notes how much memory it took.
		"peak": peak,
		// ed25519 makes keys, signs and verifies.
		"ed25519": ed25519Main,
	}
	for _, name := range append(programLinks(), programName) {
		commands[name] = nil // suite has the program itself there
	}
	testscript.Main(suite{m}, commands)
}

func withSSHOptions(args []string) []string {
	return append(strings.Split(os.Getenv("SSH_OPTIONS"), "\n"), args...)
}

// ourArgs are the arguments of our ostree-push.
func ourArgs() []string {
	args := withSSHOptions(os.Args[1:])
	if transport := os.Getenv("TRANSPORT"); transport != "" {
		args = append([]string{"--transport=" + transport}, args...)
	}
	return args
}

// ourPush becomes our ostree-push.
func ourPush() {
	err := syscall.Exec(filepath.Join(os.Getenv("OURS"), programName), append([]string{programName}, ourArgs()...), os.Environ())
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// peerPush runs Debian's ostree-push, and afterwards ends the master connection
// that it sometimes leaves behind: it signals ssh once, which ssh can miss.
func peerPush() {
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	cmd := exec.Command(filepath.Join(os.Getenv("PEER"), "ostree-push"), withSSHOptions(os.Args[1:])...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		children, _ := os.ReadFile(task)
		for _, child := range strings.Fields(string(children)) {
			if pid, err := strconv.Atoi(child); err == nil {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// remote becomes ssh, told how to reach the script's sshd.
func remote() {
	ssh, err := exec.LookPath("ssh")
	if err == nil {
		args := append([]string{"ssh"}, withSSHOptions([]string{os.Getenv("HOST")})...)
		err = syscall.Exec(ssh, append(args, os.Args[1:]...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func status() {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, err)
	}
	fmt.Fprintf(os.Stderr, "exit %d\n", cmd.ProcessState.ExitCode())
	os.Exit(cmd.ProcessState.ExitCode())
}

// peerDir is where Debian's package has the Python programs.
const peerDir = "/usr/bin"

// scripts are those below a directory of testdata, or some of them.
type scripts struct {
	dir       string
	names     []string                 // none: all of them
	transport string                   // of pushes; "": the usual one
	path      func(ours string) string // the PATH of the sessions; nil: our programs come first
}

// run runs them. Each has a private sshd that knows these variables:
//
//	HOST     user@127.0.0.1
//	OURS     the directory of our programs, first on the PATH of the sessions
//	PEER     the directory of Debian's programs
//	SIGNED   a repository that libostree has signed with ed25519
//	TMPDIR   where our programs make their temporary directories
func (s scripts) run(t *testing.T) {
	signed, err := filepath.Abs("../receive/sign/testdata/libostree")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("testdata", s.dir)
	var files []string
	for _, name := range s.names {
		files = append(files, filepath.Join(dir, name+".txt"))
	}
	if len(files) > 0 {
		dir = ""
	}
	path := s.path
	if path == nil {
		path = func(ours string) string { return ours + ":/usr/bin:/bin" }
	}
	testscript.Run(t, testscript.Params{
		Dir: dir, Files: files,
		Setup: func(e *testscript.Env) error {
			ours := programs()
			private, err := os.MkdirTemp("", "ssh")
			if err != nil {
				return err
			}
			e.Defer(func() { os.RemoveAll(private) })
			mark := markPrefix + e.WorkDir
			server, err := sshd.Start(sshd.Config{
				Dir:  private,
				Path: path(ours),
				Env:  []string{mark, "TMPDIR=" + e.Getenv("TMPDIR"), "GORACE=" + raceOptions},
			})
			if err != nil {
				return err
			}
			e.Defer(func() {
				if err := server.Stop(); err != nil {
					t.Error(err)
				}
			})
			e.Setenv("SSH_OPTIONS", strings.Join(server.ClientOptions(), "\n"))
			e.Setenv("PORT", fmt.Sprint(server.Port()))
			e.Setenv("HOST", server.User()+"@"+server.Host())
			e.Setenv("USER", server.User())
			e.Setenv("OURS", ours)
			e.Setenv("PEER", peerDir)
			e.Setenv("SSHDIR", private)
			e.Setenv("TRANSPORT", s.transport)
			e.Setenv("GORACE", raceOptions)
			e.Setenv(configVariable, os.DevNull)
			e.Setenv("SIGNED", signed)
			e.Setenv("HOME", filepath.Join(private, "home")) // as the sessions have it
			e.Vars = append(e.Vars, mark)
			return nil
		},
		Condition: condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"nothing-left":  nothingLeft,
			"kill-process":  killProcess,
			"stop-process":  stopProcess,
			"peak-below":    peakBelow,
			"wait-for":      waitFor,
			"slow":          slow,
			"configure":     configure,
			"authorize":     authorize,
			"sshd-config":   sshdConfig,
			"login-account": loginAccount,
			"gpg-key":       makeGPGKey,
		},
	})
}

// canMount reports whether a file system can be mounted, and tries it once.
var canMount = sync.OnceValue(func() bool {
	dir, err := os.MkdirTemp("", "mount")
	if err != nil {
		return false
	}
	defer os.Remove(dir)
	if syscall.Mount("none", dir, "tmpfs", 0, "size=4k") != nil {
		return false
	}
	return syscall.Unmount(dir, 0) == nil
})

// condition says what a script may ask of the machine.
func condition(cond string) (bool, error) {
	switch cond {
	case "root":
		return os.Geteuid() == 0, nil
	case "mount": // root in a container may not
		return canMount(), nil
	case "ipv6":
		l, err := net.Listen("tcp", "[::1]:0")
		if err == nil {
			l.Close()
		}
		return err == nil, nil
	case "race": // it takes many times the memory
		return slices.Contains(sanitizers(), "-race"), nil
	case "peer":
		return peerInstalled(), nil
	case "userns":
		// What follows can have an /etc/ostree of its own.
		_, err := os.Stat("/etc/ostree")
		return err == nil && exec.Command("unshare", "-rm", "true").Run() == nil, nil
	case "ostree-ed25519":
		version, err := exec.Command("ostree", "--version").Output()
		return err == nil && strings.Contains(string(version), "sign-ed25519"), nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

// peerInstalled reports whether Debian's ostree-push is the Python program.
func peerInstalled() bool {
	script, err := os.ReadFile(filepath.Join(peerDir, "ostree-push"))
	if err != nil {
		return false
	}
	line, _, _ := strings.Cut(string(script), "\n")
	return strings.HasPrefix(line, "#!") && strings.Contains(line, "python")
}

// markPrefix begins the variable that every process of a script has in its
// environment, on both ends.
const markPrefix = "OSTREE_PUSH_TEST="

// processes returns the processes that have mark in their environment, with
// their command lines. The test itself is not among them.
func processes(mark string) map[int]string {
	found := map[int]string{}
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		environ, err := os.ReadFile(path)
		if err != nil || !strings.Contains("\x00"+string(environ), "\x00"+mark+"\x00") {
			continue
		}
		var pid int
		fmt.Sscanf(path, "/proc/%d/environ", &pid)
		cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if len(cmdline) > 0 { // else a zombie
			found[pid] = strings.ReplaceAll(strings.TrimRight(string(cmdline), "\x00"), "\x00", " ")
		}
	}
	return found
}

// markOf is the mark of a script's processes.
func markOf(ts *testscript.TestScript) string { return markPrefix + ts.Getenv("WORK") }

// eventually waits until problem returns "": both ends of a push clean up by
// themselves, and only the pusher is waited for.
func eventually(ts *testscript.TestScript, problem func() string) {
	deadline := time.Now().Add(20 * time.Second)
	for {
		p := problem()
		if p == "" {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s", p)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// nothingLeft [REPO...] checks that no process, socket or temporary directory
// of a push is left, nor anything of ours in the repositories.
func nothingLeft(ts *testscript.TestScript, neg bool, repos []string) {
	eventually(ts, func() string {
		if left := processes(markOf(ts)); len(left) > 0 {
			return fmt.Sprintf("processes left: %v", left)
		}
		left, _ := os.ReadDir(ts.Getenv("TMPDIR"))
		for _, entry := range left {
			return fmt.Sprintf("left in TMPDIR: %s", entry.Name())
		}
		for _, repo := range repos {
			left, _ := filepath.Glob(filepath.Join(ts.MkAbs(repo), "tmp", "ostree-receive-*"))
			if len(left) > 0 {
				return fmt.Sprintf("quarantines left: %v", left)
			}
		}
		return ""
	})
}

// kill-process [-q] [-parent] SIGNAL TEXT... kills the script's processes that match one of the TEXTs, all
// at once. With -q there may be none; with -parent it is what runs them that is killed. STOP stops them.
func killProcess(ts *testscript.TestScript, neg bool, args []string) {
	quiet := args[0] == "-q"
	if quiet {
		args = args[1:]
	}
	parent := args[0] == "-parent"
	if parent {
		args = args[1:]
	}
	signals := map[string]syscall.Signal{"KILL": syscall.SIGKILL, "INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}
	sig, ok := signals[args[0]]
	if !ok {
		ts.Fatalf("unknown signal %s", args[0])
	}
	pids, found := matching(ts, args[1:])
	if parent {
		for i, pid := range pids {
			pids[i] = parentOf(pid)
		}
	}
	killAll := func(sig syscall.Signal) (killed int) {
		for _, pid := range pids {
			if syscall.Kill(pid, sig) == nil {
				killed++
			}
		}
		return killed
	}
	// None is to notice what happens to another before it happens to itself.
	killAll(syscall.SIGSTOP)
	killed := killAll(sig)
	if sig != syscall.SIGSTOP {
		killAll(syscall.SIGCONT)
	}
	if killed == 0 && !quiet {
		ts.Fatalf("there is none of %q among %v", args[1:], found)
	}
}

// matching returns the script's processes whose command line contains one of the texts, or begins
// with one after a ^, and all of the script's processes.
func matching(ts *testscript.TestScript, texts []string) (pids []int, found map[int]string) {
	found = processes(markOf(ts))
	for pid, cmdline := range found {
		matches := func(text string) bool { return strings.Contains("^"+cmdline, text) }
		if !strings.HasPrefix(cmdline, "status ") && slices.ContainsFunc(texts, matches) {
			pids = append(pids, pid)
		}
	}
	return pids, found
}

// parentOf returns the process that has started another one.
func parentOf(pid int) (parent int) {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	// PID (NAME) STATE PPID …, where NAME can have anything in it.
	fmt.Sscanf(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " %s %d", new(string), &parent)
	return parent
}

// wait-for PATTERN [TEXT] waits until a file matches, and has TEXT in it.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	eventually(ts, func() string {
		found, _ := filepath.Glob(ts.MkAbs(args[0]))
		if len(args) > 1 {
			found = slices.DeleteFunc(found, func(path string) bool {
				content, _ := os.ReadFile(path)
				return !strings.Contains(string(content), args[1])
			})
		}
		if len(found) > 0 != neg {
			return ""
		}
		return fmt.Sprintf("no file is %q", args)
	})
}

// slow RATE puts a link of so many bits per second between the script and its
// sshd, so that there is time to interrupt a push.
func slow(ts *testscript.TestScript, neg bool, args []string) {
	rate, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	proxy, err := link.Link{Rate: rate}.Proxy(context.Background(), "127.0.0.1:"+ts.Getenv("PORT"))
	ts.Check(err)
	ts.Defer(func() { proxy.Close() })
	options := strings.Split(ts.Getenv("SSH_OPTIONS"), "\n")
	for i, option := range options {
		if option == "-p" {
			options[i+1] = fmt.Sprint(proxy.Addr.Port)
		}
	}
	ts.Setenv("SSH_OPTIONS", strings.Join(options, "\n"))
}

func TestPush(t *testing.T) {
	t.Parallel()
	scripts{dir: "push"}.run(t)
}

// TestPushTunnel has objects travel in the way that older versions, and the
// Python program, know, in those scripts in which that makes a difference.
func TestPushTunnel(t *testing.T) {
	t.Parallel()
	scripts{dir: "push", transport: "tunnel", names: []string{
		"bad-input", "bad-refs", "before", "clashes", "collection", "command", "deep", "dry-run", "ed25519", "ended", "flatpak", "frozen", "full-disk", "gpg", "hook",
		"interrupted", "judge", "modes", "not-writable", "one-ref", "owned", "partial", "progress", "refs", "resumed", "ssh-config", "stopped", "summary",
		"tmpdir", "unchanged",
	}}.run(t)
}

// TestPeer has Debian's ostree-push on one end.
func TestPeer(t *testing.T) {
	t.Parallel()
	if !peerInstalled() {
		t.Skip("Debian's ostree-push is not installed")
	}
	scripts{dir: "peer", path: func(string) string { return "/usr/bin:/bin" }}.run(t)
}
