package locate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A link that is put in the way after a path was checked is not followed, and a
// directory that is swapped is not gone to.
func TestLocationSwapped(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	group := filepath.Join(root, "group")
	for _, dir := range []string{filepath.Join(group, "repo"), filepath.Join(outside, "repo")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	swap := func() {
		t.Helper()
		if err := os.Rename(group, filepath.Join(root, "moved")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(outside, group); err != nil {
			t.Fatal(err)
		}
	}

	at, err := Find(root, "group/repo")
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	if path, err := at.ForOthers(); err != nil || path != filepath.Join(root, "group/repo") {
		t.Errorf("before: %s, %v", path, err)
	}
	mine := filepath.Join(group, "repo", "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	swap()
	if _, err := os.Stat(filepath.Join(at.Path(), "mine")); err != nil {
		t.Errorf("this process goes to another directory: %v", err)
	}
	if path, err := at.ForOthers(); err == nil {
		t.Errorf("other programs would go to %s", path)
	}
	if dir, err := openBelow(root, "group/repo"); err == nil {
		dir.Close()
		t.Error("the link was followed")
	}
	if _, err := Find(root, "group/repo"); err == nil || err.Error() != "repo group/repo not found" {
		t.Errorf("afterwards: %v", err)
	}
}

// What a pusher calls a repository cannot write on a terminal, nor into a log.
func TestPrintable(t *testing.T) {
	_, err := Find(t.TempDir(), "a\x1b[2J\nb\"")
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\n") {
		t.Errorf("%q", err)
	}
}
