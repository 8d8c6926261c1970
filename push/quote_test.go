package push

import (
	"os/exec"
	"strings"
	"testing"
)

// TestRemoteCommand lets real shells split what is meant for them.
func TestRemoteCommand(t *testing.T) {
	args := []string{
		"-n", "/srv/repo", "with blank", "a;b", "a&&b", "$(id)", "`id`", "it's", `"quoted"`, `back\slash`,
		"new\nline", "*", "?", "[a]", "#", "!history", "a!b'c", "{a,b}", "<x>", "x=y", "~nobody-x y", "", "ü", "\t",
	}
	line := remoteCommand([]string{"printf", "%s\\0"}, args)
	for _, shell := range []string{"sh", "bash", "dash"} {
		if _, err := exec.LookPath(shell); err != nil {
			continue
		}
		out, err := exec.Command(shell, "-c", line).Output()
		if err != nil {
			t.Fatalf("%s: %v", shell, err)
		}
		if got, want := string(out), strings.Join(args, "\x00")+"\x00"; got != want {
			t.Errorf("%s -c %q:\n got %q\nwant %q", shell, line, got, want)
		}
	}

	for path, want := range map[string]string{
		"~":            "~",
		"~/repo":       "~/repo",
		"~/my repo":    "~/'my repo'",
		"~ostree/repo": "~ostree/repo",
		"~$(id)/repo":  "'~$(id)/repo'",
		"repo~":        "'repo~'",
		"/srv/~/x":     "'/srv/~/x'",
		"-n":           "-n",
	} {
		if got := quotePath(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}
