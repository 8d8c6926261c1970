package ostree_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"ostree-push/ostree"
)

// initRepo makes a repository that does not sync, and returns its path.
func initRepo(t testing.TB, mode string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "repo")
	program(t, "--repo="+path, "init", "--mode="+mode)
	program(t, "--repo="+path, "config", "set", "core.fsync", "false")
	return path
}

// newCommit is a commit to be made.
type newCommit struct {
	ref, dir, subject, body string
	time                    int64    // 0: now
	args                    []string // more, of the ostree program
}

// commit writes c, and returns its checksum.
func commit(t testing.TB, repo string, c newCommit) ostree.Checksum {
	t.Helper()
	args := []string{"--repo=" + repo, "commit", "--branch=" + c.ref, "--subject=" + c.subject, "--body=" + c.body}
	if c.time != 0 {
		args = append(args, fmt.Sprintf("--timestamp=@%d", c.time))
	}
	args = append(args, c.args...)
	return checksum(t, program(t, append(args, c.dir)...))
}

func checksum(t testing.TB, s string) ostree.Checksum {
	t.Helper()
	sum, err := ostree.ParseChecksum(strings.TrimSpace(s))
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// tree makes a directory with one of each kind of file.
func tree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"file":           "content\n",
		"empty":          "",
		"large":          strings.Repeat("0123456789abcdef", 1<<14),
		"sub/dir/nested": "nested\n",
	} {
		write(t, filepath.Join(dir, name), content)
	}
	if err := os.Chmod(filepath.Join(dir, "file"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("sub/dir", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, path string) *ostree.Repo {
	t.Helper()
	repo, err := ostree.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(repo.Close)
	return repo
}

// create makes a repository that does not sync and has the remote "origin" at
// url, if there is one.
func create(t testing.TB, url string) *ostree.Repo {
	t.Helper()
	repo, err := ostree.Create(filepath.Join(t.TempDir(), "repo"), ostree.ModeArchive,
		ostree.CreateOptions{Core: map[string]string{"fsync": "false"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(repo.Close)
	if url != "" {
		if err := repo.AddRemote("origin", url, nil); err != nil {
			t.Fatal(err)
		}
	}
	return repo
}

func refsOf(t testing.TB, path string) ostree.Refs {
	t.Helper()
	refs, err := open(t, path).Refs(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return refs
}

func loadCommit(t testing.TB, repo *ostree.Repo, sum ostree.Checksum) *ostree.Commit {
	t.Helper()
	c, err := repo.LoadCommit(sum)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// in runs f in a transaction, and commits it.
func in(t testing.TB, repo *ostree.Repo, f func(*ostree.Transaction)) {
	t.Helper()
	tx, err := repo.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	f(tx)
	if err := tx.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// move changes refs.
func move(t testing.TB, repo *ostree.Repo, updates ...ostree.RefUpdate) {
	t.Helper()
	err := repo.UpdateRefs(context.Background(), updates, func(_ ostree.RefUpdate, err error) {
		if err != nil {
			t.Fatal(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// pullAll says how commits and all that belongs to them are pulled from a
// trusted server.
func pullAll(sums ...ostree.Checksum) ostree.PullOptions {
	return ostree.PullOptions{Remote: "origin", Commits: sums, Flags: ostree.PullMirror | ostree.PullTrustedHTTP}
}

// serve serves a directory, and returns its URL.
func serve(t testing.TB, dir string) string {
	t.Helper()
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	return server.URL
}

// program runs the ostree program, and returns what it prints.
func program(t testing.TB, args ...string) string {
	t.Helper()
	out, err := ostreeCommand(args).CombinedOutput()
	if err != nil {
		t.Fatalf("ostree %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// ostreeCommand is the ostree program, which is to understand UTF-8 wherever the tests run.
func ostreeCommand(args []string) *exec.Cmd {
	cmd := exec.Command("ostree", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	return cmd
}

// programFails runs the ostree program, which is to fail.
func programFails(t testing.TB, args ...string) string {
	t.Helper()
	out, err := ostreeCommand(args).CombinedOutput()
	if err == nil {
		t.Fatalf("ostree %q does not fail\n%s", args, out)
	}
	return string(out)
}

// returns waits for f, but not for ever.
func returns(t testing.TB, what string, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not return", what)
		return nil
	}
}

// objectPath is where an archive or bare repository has an object.
func objectPath(repo string, sum ostree.Checksum, extension string) string {
	s := sum.String()
	return filepath.Join(repo, "objects", s[:2], s[2:]+"."+extension)
}

// objectOf returns the content object of a file of the commit on main.
func objectOf(t testing.TB, repo, name string) ostree.Checksum {
	t.Helper()
	for line := range strings.Lines(program(t, "--repo="+repo, "ls", "-RC", "main")) {
		fields := strings.Fields(line) // mode, owner, group, size, checksum, path
		if len(fields) > 5 && fields[5] == "/"+name {
			return checksum(t, fields[4])
		}
	}
	t.Fatalf("main has no file %s", name)
	return ostree.Checksum{}
}

func openFiles(t testing.TB) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// checkFiles checks that no more than n files are open, after a while: threads
// of libostree that a pull has started let go of the repository after its end.
func checkFiles(t testing.TB, n int) {
	t.Helper()
	open := openFiles(t)
	for deadline := time.Now().Add(10 * time.Second); open > n && time.Now().Before(deadline); open = openFiles(t) {
		runtime.Gosched()
	}
	if open > n {
		t.Errorf("%d files are open, not %d", open, n)
	}
}

// gpgKey is a key pair made on the spot.
type gpgKey struct {
	home   string // with the secret key
	id     string
	public string // file
}

func newGPGKey(t testing.TB) gpgKey {
	t.Helper()
	// The agent's sockets are in there, whose paths must be short.
	home, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		os.RemoveAll(home)
	})
	gpg := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("gpg", append([]string{"--homedir", home, "--batch"}, args...)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("gpg %q: %v\n%s", args, err, stderr.String())
		}
		return string(out)
	}
	gpg("--passphrase", "", "--quick-gen-key", "Test <test@example.org>", "ed25519", "sign", "never")
	key := gpgKey{home: home, public: filepath.Join(home, "public.gpg")}
	for line := range strings.Lines(gpg("--list-keys", "--with-colons")) {
		if fields := strings.Split(line, ":"); fields[0] == "pub" {
			key.id = fields[4]
		}
	}
	gpg("--export", "--output", key.public)
	return key
}
