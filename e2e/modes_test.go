package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kballard/go-shellquote"

	"ostree-push/internal/otrepo"
)

// TestModes pushes in each way into repositories of each mode, alone and shared with a group, under
// each umask: all that stays there has the modes that `ostree pull-local` leaves.
func TestModes(t *testing.T) {
	t.Parallel()
	m := newModesTest(t)
	modes := []string{"archive", "bare-user", "bare-user-only"}
	if os.Geteuid() == 0 {
		modes = append(modes, "bare") // only root can give files away
	}
	for _, mode := range modes {
		for _, shared := range []bool{false, true} {
			template := m.template(t, mode, shared)
			for _, umask := range []string{"022", "002", "027", "077"} {
				t.Run(fmt.Sprintf("%s, shared %v, umask %s", mode, shared, umask), func(t *testing.T) {
					// In a bare repository, files belong to whom they will.
					m.compare(t, template, umask, mode, shared && mode != "bare")
				})
			}
		}
	}
}

// otherGroup is some group that nobody needs to have.
const otherGroup = 12345

type modesTest struct {
	remote *sshRemote
	local  string
}

func newModesTest(t *testing.T) *modesTest {
	m := &modesTest{newSSHRemote(t), filepath.Join(t.TempDir(), "local")}
	tree := t.TempDir()
	for name, mode := range map[string]os.FileMode{"file": 0o644, "program": 0o755} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("file", filepath.Join(tree, "link")); err != nil {
		t.Fatal(err)
	}
	// One that is checked in its file.
	output(t, "cp", filepath.Join(randomTree(t, 1, 1, 1_000_000), "dir0/file0"), filepath.Join(tree, "large"))
	if err := otrepo.Init(m.local, "archive"); err != nil {
		t.Fatal(err)
	}
	// Permissions and owners that bare-user-only can express.
	output(t, "ostree", "--repo="+m.local, "commit", "--canonical-permissions", "--add-detached-metadata-string=a=b",
		"--timestamp=@1700000000", "--branch=os/main", "--tree=dir="+tree)
	return m
}

// template makes an empty repository.
func (m *modesTest) template(t *testing.T, mode string, shared bool) string {
	dir := filepath.Join(t.TempDir(), "template")
	if err := otrepo.Init(dir, mode); err != nil {
		t.Fatal(err)
	}
	// This has the mode that whoever uses the repository first gives it.
	if err := os.RemoveAll(filepath.Join(dir, ".lock")); err != nil {
		t.Fatal(err)
	}
	if shared {
		if os.Geteuid() == 0 {
			output(t, "chgrp", "-R", fmt.Sprint(otherGroup), dir)
		}
		output(t, "find", dir, "-type", "d", "-exec", "chmod", "2775", "{}", "+")
	}
	return dir
}

// under is a command that runs another one under an umask.
func under(umask string) []string {
	return []string{"sh", "-c", "umask " + umask + `; exec "$@"`, "sh"}
}

func (m *modesTest) compare(t *testing.T, template, umask, mode string, shared bool) {
	t.Parallel()
	dir := t.TempDir()
	pulled := filepath.Join(dir, "pulled")
	output(t, "cp", "-a", template, pulled)
	run := append(under(umask), "ostree", "--repo="+pulled)
	output(t, run[0], append(run[1:], "pull-local", "--untrusted", m.local)...)
	output(t, run[0], append(run[1:], "summary", "-u")...)
	want := modesIn(t, pulled)

	ways := []string{"stream", "tunnel"}
	if mode == "archive" { // clients of protocol 0 want no other
		ways = append(ways, "protocol 0")
	}
	for _, way := range ways {
		repo := filepath.Join(dir, way)
		output(t, "cp", "-a", template, repo)
		said := m.push(t, repo, way, umask)
		got := modesIn(t, repo)
		// Our lock has the mode of libostree's.
		got[".lock"] = got[".ostree-receive.lock"]
		delete(got, ".ostree-receive.lock")
		for name, mode := range got {
			if mode != want[name] {
				t.Errorf("%s: %s has mode %v, not %v", way, name, mode, want[name])
			}
		}
		hidden := strings.HasSuffix(umask, "7")
		if strings.Contains(said, "others, such as a web server, can read repo") != hidden {
			t.Errorf("%s: that something is hidden is %v, and it says %q", way, hidden, said)
		}
		if shared && os.Geteuid() == 0 {
			checkGroup(t, repo)
		}
		output(t, "ostree", "--repo="+repo, "fsck", "-q")
	}
}

// push pushes into a repository, whose receiver has that umask, and returns what is said.
func (m *modesTest) push(t *testing.T, repo, way, umask string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	remote := *m.remote
	remote.repo = repo
	cmd := remote.pushCommand(ctx, remote.server.Port(), []string{"--repo=" + m.local, "--transport=" + way,
		"--command", shellquote.Join(append(under(umask), "ostree-receive")...)})
	if way == "protocol 0" {
		run := append(under(umask), "ostree-receive-0", "--repo="+repo)
		cmd = exec.CommandContext(ctx, "client0", append([]string{m.local, "os/main", "--"}, run...)...)
	}
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", way, err, said)
	}
	return string(said)
}

// modesIn returns the modes of all that is in a repository. Objects go by their kind, since
// what they are called depends on the commit. What is in tmp/ does not stay.
func modesIn(t *testing.T, repo string) map[string]string {
	t.Helper()
	modes := map[string]string{}
	err := filepath.WalkDir(repo, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(repo, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().String()
		if rest, ok := strings.CutPrefix(name, "objects/"); ok {
			name = "objects/*" + filepath.Ext(rest)
		}
		// Programs and links differ from files.
		if !strings.Contains(modes[name], mode) {
			modes[name] += mode
		}
		if name == "tmp" {
			return filepath.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return modes
}

// checkGroup checks that all that is in a repository belongs to the group.
func checkGroup(t *testing.T, repo string) {
	t.Helper()
	err := filepath.WalkDir(repo, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if gid := info.Sys().(*syscall.Stat_t).Gid; gid != otherGroup {
			t.Errorf("%s is of group %d", path, gid)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
