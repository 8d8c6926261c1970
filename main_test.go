package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"ostree-push/cli"
)

// TestName calls the program by each of its names, and by others.
func TestName(t *testing.T) {
	const none = `is none of the names that this program answers to: ` +
		`ostree-push, ostree-receive, ostree-receive-0, ostree-receive-1, ostree-receive-shell\n$`
	for _, test := range []struct {
		argv   []string
		status int
		stdout string
		stderr string
	}{
		{[]string{"ostree-push", "--version"}, 0, `^ostree-push `, `^$`},
		{[]string{"/usr/bin/ostree-push", "--version"}, 0, `^ostree-push `, `^$`},
		{[]string{"ostree-receive", "--version"}, 0, `^ostree-receive `, `^$`},
		{[]string{"ostree-receive-0", "--version"}, 0, `^ostree-receive-0 `, `^$`},
		{[]string{"ostree-receive-1", "--version"}, 0, `^ostree-receive-1 `, `^$`},
		{[]string{"ostree-receive-shell", "-c", "ostree-receive --version"}, 0, `^ostree-receive `, `^$`},
		// login(1) puts a dash before the name of a login shell.
		{[]string{"-ostree-receive-shell", "-c", "ostree-receive --version"}, 0, `^ostree-receive `, `^$`},
		{[]string{"--ostree-receive-shell"}, cli.ExitUsage, `^$`, `^"-ostree-receive-shell" ` + none},
		{[]string{"other-name", "--version"}, cli.ExitUsage, `^$`, `^"other-name" ` + none},
		{[]string{""}, cli.ExitUsage, `^$`, `^"\." ` + none},
		{nil, cli.ExitUsage, `^$`, `^"" ` + none},
	} {
		status, stdout, stderr := runWith(t, test.argv)
		if status != test.status {
			t.Errorf("%q: status %d, want %d", test.argv, status, test.status)
		}
		if !regexp.MustCompile(test.stdout).MatchString(stdout) {
			t.Errorf("%q: stdout %q does not match %q", test.argv, stdout, test.stdout)
		}
		if !regexp.MustCompile(test.stderr).MatchString(stderr) {
			t.Errorf("%q: stderr %q does not match %q", test.argv, stderr, test.stderr)
		}
	}
}

// runWith runs the program, and returns what it writes.
func runWith(t *testing.T, argv []string) (status int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	out := create(t, filepath.Join(dir, "stdout"))
	err := create(t, filepath.Join(dir, "stderr"))
	status = run(argv, nil, out, err)
	return status, written(t, out), written(t, err)
}

func create(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func written(t *testing.T, f *os.File) string {
	t.Helper()
	content, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
