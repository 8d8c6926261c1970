package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestShell has sshd run the restricted shell in each of the ways that it can be
// set up.
func TestShell(t *testing.T) {
	t.Parallel()
	scripts{dir: "shell"}.run(t)
}

// authorize [OPTIONS] sets the options of the pusher's key in authorized_keys.
func authorize(ts *testscript.TestScript, neg bool, args []string) {
	file := filepath.Join(ts.Getenv("SSHDIR"), "authorized_keys")
	line, err := os.ReadFile(file)
	ts.Check(err)
	i := strings.Index(string(line), "ssh-ed25519 ")
	if i < 0 {
		ts.Fatalf("no key in %q", line)
	}
	options := strings.Join(args, " ")
	ts.Check(os.WriteFile(file, []byte(strings.TrimLeft(options+" "+string(line[i:]), " ")), 0o644))
}

// sshd-config [LINE...] sets the first lines of sshd's configuration, which each
// connection reads anew, instead of those that were set before.
func sshdConfig(ts *testscript.TestScript, neg bool, args []string) {
	const comment = "# set by the script"
	file := filepath.Join(ts.Getenv("SSHDIR"), "sshd_config")
	content, err := os.ReadFile(file)
	ts.Check(err)
	rest := string(content)
	if i := strings.Index(rest, comment+"\n"); i >= 0 {
		rest = rest[i+len(comment)+1:]
	}
	ts.Check(os.WriteFile(file, []byte(strings.Join(args, "\n")+"\n"+comment+"\n"+rest), 0o600))
}

// login-account makes an account whose login shell is ours, and ACCOUNT its name;
// ACCOUNT_DIR is a directory of its own. Nothing is on the PATH of its sessions, so
// that the shell runs the programs that are beside it, and none of the system's.
func loginAccount(ts *testscript.TestScript, neg bool, args []string) {
	run := func(name string, args ...string) {
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			ts.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
	}
	// Programs that everybody may run.
	dir, err := os.MkdirTemp("", "account")
	ts.Check(err)
	ts.Defer(func() { os.RemoveAll(dir) })
	ts.Check(os.Chmod(dir, 0o755))
	shell := filepath.Join(dir, "ostree-receive-shell")
	run("cp", filepath.Join(ts.Getenv("OURS"), programName), shell)
	for _, name := range []string{"ostree-receive", "ostree-receive-0", "ostree-receive-1"} {
		ts.Check(os.Symlink(shell, filepath.Join(dir, name)))
	}

	config := filepath.Join(ts.Getenv("SSHDIR"), "sshd_config")
	content, err := os.ReadFile(config)
	ts.Check(err)
	path := ts.Getenv("OURS") + ":/usr/bin:/bin"
	if !strings.Contains(string(content), "PATH="+path) {
		ts.Fatalf("no PATH=%s in %s", path, content)
	}
	content = []byte(strings.ReplaceAll(string(content), "PATH="+path, "PATH=/nonexistent"))
	ts.Check(os.WriteFile(config, content, 0o600))

	// A new name each time, since a test that was killed leaves its account behind.
	account := fmt.Sprintf("ostree-push-test-%08x", rand.Uint32())
	own := filepath.Join(dir, "own")
	run("useradd", "--no-create-home", "--home-dir", own, "--shell", shell, "--password", "*", account)
	ts.Defer(func() { exec.Command("userdel", "--force", account).Run() })
	ts.Check(os.Mkdir(own, 0o755))
	run("chown", account+":", own)
	// sshd and the session look into this as the account.
	private := ts.Getenv("SSHDIR")
	for _, path := range []string{private, filepath.Join(private, "home")} {
		ts.Check(os.Chmod(path, 0o755))
	}
	ts.Check(os.Chmod(filepath.Join(private, "authorized_keys"), 0o644))
	tmp := ts.Getenv("TMPDIR")
	ts.Check(os.Chmod(tmp, 0o1777))
	for parent := filepath.Dir(tmp); parent != "/" && parent != os.TempDir(); parent = filepath.Dir(parent) {
		ts.Check(os.Chmod(parent, 0o711))
	}
	ts.Setenv("ACCOUNT", account)
	ts.Setenv("ACCOUNT_DIR", own)
}
