package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// onOtherHost returns a command that runs where /etc/ostree has a configuration of a
// server's, by which nothing could be pushed here.
func onOtherHost(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if _, err := os.Stat("/etc/ostree"); err != nil || os.Geteuid() != 0 || !canMount() {
		t.Skip("/etc/ostree cannot be another one here")
	}
	etc := t.TempDir()
	if err := os.WriteFile(filepath.Join(etc, "ostree-receive.toml"), []byte("root = \"/nowhere\"\nrefs = [\"none\"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const script = `mount --bind "$0" /etc/ostree && exec "$@"`
	return exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, etc}, args...)...)
}

// The demo shows the same on every machine.
func TestDemoOnOtherHost(t *testing.T) {
	t.Parallel()
	cmd := onOtherHost(t, "go", "run", "ostree-push/internal/demo", "-bin", programs())
	cmd.Env = without(configVariable)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// So do the tests.
func TestScriptsOnOtherHost(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := onOtherHost(t, self, "-test.run=^TestPush$/^(one-ref|judge)$")
	cmd.Env = without(configVariable)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// without returns the environment of this process without a variable.
func without(name string) []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, name+"=") })
}
