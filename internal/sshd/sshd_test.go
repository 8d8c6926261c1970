package sshd_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/internal/sshd"
)

func start(t *testing.T, cfg sshd.Config) *sshd.Server {
	t.Helper()
	for _, program := range []string{"ssh", "ssh-keygen"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	cfg.Dir = t.TempDir()
	s, err := sshd.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("sshd's log:\n%s", s.Log())
		}
	})
	return s
}

func ssh(s *sshd.Server, host, command string) *exec.Cmd {
	return exec.Command("ssh", append(s.ClientOptions(), s.User()+"@"+host, command)...)
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.Bytes())
	}
	return string(out)
}

func TestSession(t *testing.T) {
	s := start(t, sshd.Config{})
	output(t, ssh(s, s.Host(), "true"))
	if s.IPv6 {
		output(t, ssh(s, "::1", "true"))
	}

	err := ssh(s, s.Host(), "exit 7").Run()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("exit 7: %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	value := `a "b" 'c' \d \\ $HOME #e é`
	s := start(t, sshd.Config{
		Path: "/nowhere:/usr/bin:/bin",
		Env:  []string{"FOO=" + value, "BAR=bar"},
	})
	got := output(t, ssh(s, s.Host(), `printf '%s\n' "$FOO" "$BAR" "$PATH" "$HOME"`))
	home := filepath.Join(filepath.Dir(s.ClientOptions()[1]), "home")
	want := value + "\nbar\n/nowhere:/usr/bin:/bin\n" + home + "\n"
	if got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

// What is set takes the place of what would be set otherwise.
func TestOwnEnvironment(t *testing.T) {
	s := start(t, sshd.Config{Env: []string{"OSTREE_RECEIVE_CONF=/own", "HOME=/"}})
	if got := output(t, ssh(s, s.Host(), `echo "$OSTREE_RECEIVE_CONF $HOME"`)); got != "/own /\n" {
		t.Errorf("got %q", got)
	}
}

func TestWrongKey(t *testing.T) {
	s, other := start(t, sshd.Config{}), start(t, sshd.Config{})
	// The other server's key is put in, and nothing else changed.
	options := s.ClientOptions()
	options[1] = other.ClientOptions()[1]
	out, err := exec.Command("ssh", append(options, s.User()+"@"+s.Host(), "echo", "in")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Permission denied (publickey)") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestWrongHost(t *testing.T) {
	s, other := start(t, sshd.Config{}), start(t, sshd.Config{})
	options := other.ClientOptionsVia(s.Port())
	out, err := exec.Command("ssh", append(options, s.User()+"@"+s.Host(), "true")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Host key verification failed") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestLinesAndAuthorizedOptions(t *testing.T) {
	s := start(t, sshd.Config{
		Lines:             []string{"LogLevel DEBUG"},
		AuthorizedOptions: `restrict,command="echo forced"`,
	})
	if got := output(t, ssh(s, s.Host(), "echo mine")); got != "forced\n" {
		t.Errorf("got %q", got)
	}
	if !strings.Contains(s.Log(), "debug1:") {
		t.Error("no debug line in the log")
	}
}

func TestBadLine(t *testing.T) {
	_, err := sshd.Start(sshd.Config{Dir: t.TempDir(), Lines: []string{"NoSuchOption yes"}})
	if err == nil || !strings.Contains(err.Error(), "NoSuchOption") {
		t.Errorf("got %v", err)
	}
}

// Neither what a session runs, nor what it left behind when its connection was
// lost, may outlive the server.
func TestStopLeavesNoProcess(t *testing.T) {
	s := start(t, sshd.Config{})
	var pids []int
	for _, command := range []string{
		// in the foreground, and in the background of it
		`sleep 1000 & echo $! $$; wait`,
		// in a session of its own, whose parent is gone
		`setsid sh -c 'sleep 1000 & echo $! $!; exec >&- 2>&-' & wait; exec sleep 1000`,
	} {
		cmd := ssh(s, s.Host(), command)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		var a, b int
		if _, err := fmt.Fscan(out, &a, &b); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, a, b)
	}
	if err := s.KillSessions(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}

	output(t, ssh(s, s.Host(), "true"))
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := ssh(s, s.Host(), "true").Run(); err == nil {
		t.Error("a stopped server accepts connections")
	}
}

// A session has ended when what it left behind has, whatever became of its connection.
func TestWaitSessions(t *testing.T) {
	s := start(t, sshd.Config{})
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	output(t, ssh(s, s.Host(), "setsid cat "+pipe+" >/dev/null 2>&1 </dev/null &"))
	if err := s.WaitSessions(100 * time.Millisecond); err == nil || !strings.HasSuffix(err.Error(), "timed out") {
		t.Errorf("while something is left: %v", err)
	}
	if err := os.WriteFile(pipe, nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitSessions(time.Minute); err != nil {
		t.Error(err)
	}
}

// alive tells whether a process runs; one that only was not waited for does not.
func alive(pid int) bool {
	if unix.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
