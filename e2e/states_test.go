package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ostree-push/internal/client0"
	"ostree-push/internal/otrepo"
	"ostree-push/ostree"
	"ostree-push/report"
)

// TestStates pushes from and into repositories in the states that real ones get into
// (states_table_test.go). Afterwards a user who pulls what was pushed gets all of it, or
// no ref has moved and it is said why.
func TestStates(t *testing.T) {
	t.Parallel()
	base := newStatesBase(t)
	base.killed = killReceiver(t, base)
	for _, s := range slices.Concat(contentStates(), refStates(), sourceStates()) {
		// Over protocol 0, it is for the client to say whether there is anything to do.
		base.over(t, s.name, !s.source && !s.upToDate, func(t *testing.T, w *world) { w.checkState(t, s) })
	}
}

// over runs a test over each way that objects travel, with a copy of the world.
func (w *world) over(t *testing.T, name string, zero bool, test func(*testing.T, *world)) {
	transports := []string{"stream", "tunnel"}
	if zero {
		transports = append(transports, "protocol-0")
	}
	for _, transport := range transports {
		t.Run(name+"/"+transport, func(t *testing.T) {
			t.Parallel()
			w := w.copied(t)
			w.transport = transport
			test(t, w)
		})
	}
}

// TestDryRunPromises pushes with and without -n: what a dry run says of a ref becomes of it.
func TestDryRunPromises(t *testing.T) {
	t.Parallel()
	base := newStatesBase(t)
	for _, s := range slices.Concat(contentStates(), refStates()) {
		switch s.name {
		case "whole", "whole, the same commit", "the commit has been pushed", "fsck --delete, the same commit",
			"a pull of the commit only, the same commit", "no commit", "an alias", "a temporary file":
		default:
			continue // they are not judged in another way
		}
		base.over(t, s.name, false, func(t *testing.T, w *world) { w.checkPromise(t, s) })
	}
}

func (w *world) checkPromise(t *testing.T, s state) {
	t.Helper()
	before := w.enter(t, &s)
	promised := w.pushWith(t, []string{"-n"}, s.refs...)
	if diff := cmp.Diff(before, refFiles(t, w.target)); diff != "" {
		t.Errorf("a dry run moves refs:\n%s", diff)
	}
	done := w.pushWith(t, nil, s.refs...)
	t.Logf("%v\n%s%v\n%s", promised.err, promised.stderr, done.err, done.stderr)
	if (promised.err == nil) != (done.err == nil) {
		t.Errorf("a dry run ends with %v, and a push with %v", promised.err, done.err)
	}
	if promised, done := statuses(promised), statuses(done); !maps.Equal(promised, done) {
		t.Errorf("a dry run says %v, and a push %v", promised, done)
	}
}

func statuses(said saying) map[ostree.Ref]report.Status {
	all := map[ostree.Ref]report.Status{}
	for _, r := range said.result.Refs {
		all[r.Ref] = r.Status
	}
	return all
}

// state is one that a push meets.
type state struct {
	name string
	make func(t *testing.T, w *world)

	source bool     // it is the source's
	refs   []string // to push; none: main

	fails     string // what the error says; "": the push succeeds
	upToDate  bool   // the refs show what is pushed: it may fail all the same, if it says why
	noSummary bool   // or only the summary may, which has what libostree puts there
	warns     string // what is said besides
}

// world is a source, and a target that has had one of its commits.
//
// In the source, the ref again has the commit before that of main, of which most of the
// tree is the same. The target's main has that commit, whose own parent is not there, as after a
// pull or a prune of depth 0.
type world struct {
	source    string
	remote    *sshRemote
	target    string // remote.repo
	transport string
	library   string
	killed    string // a target, whose receiver has been killed (killReceiver)
}

func newStatesBase(t *testing.T) *world {
	t.Helper()
	w := &world{remote: newSSHRemote(t), source: filepath.Join(t.TempDir(), "source"), library: momentLibrary(t)}
	w.target = w.remote.repo
	if err := otrepo.Init(w.source, "archive"); err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	w.commit(t, tree, 1, "first")
	w.commit(t, tree, 2, "a", "sub/b", "sub/deep/c")
	output(t, "ostree", "--repo="+w.source, "refs", "--create=again", "main")
	output(t, "ostree", "--repo="+w.target, "pull-local", w.source, "main")
	w.commit(t, tree, 3, "new")
	return w
}

// commit adds files to a tree, and commits it on main of the source. Each directory has a
// mode of its own, and so its own dirmeta.
func (w *world) commit(t *testing.T, tree string, at int64, files ...string) {
	t.Helper()
	for _, name := range files {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("This is "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for dir, mode := range map[string]fs.FileMode{"sub": 0o751, "sub/deep": 0o711} {
		if err := os.Chmod(filepath.Join(tree, dir), mode); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	c := otrepo.Commit{Ref: "main", Dir: tree, Time: time.Unix(1_700_000_000+at, 0)}
	if _, err := c.Write(w.source); err != nil {
		t.Fatal(err)
	}
}

// copied is a world of its own with the same repositories.
func (w *world) copied(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	own := *w
	own.source = filepath.Join(dir, "source")
	own.setTarget(filepath.Join(dir, "target"))
	copyRepo(t, own.source, w.source)
	copyRepo(t, own.target, w.target)
	return &own
}

func (w *world) setTarget(dir string) {
	remote := *w.remote
	remote.repo = dir
	w.remote, w.target = &remote, dir
}

func copyRepo(t *testing.T, to, from string) {
	t.Helper()
	output(t, "cp", "-a", from, to)
}

// emptied makes the target an empty repository.
func (w *world) emptied(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(w.target); err != nil {
		t.Fatal(err)
	}
	if err := otrepo.Init(w.target, "archive"); err != nil {
		t.Fatal(err)
	}
}

// enter brings the world into a state, and returns the refs that the target has then.
func (w *world) enter(t *testing.T, s *state) map[string]string {
	t.Helper()
	s.make(t, w)
	if len(s.refs) == 0 {
		s.refs = []string{"main"}
	}
	return refFiles(t, w.target)
}

// checkState pushes in a state, and looks at what has come of it.
func (w *world) checkState(t *testing.T, s state) {
	t.Helper()
	before := w.enter(t, &s)
	said := w.push(t, s.refs...)
	t.Logf("%v\n%s", said.err, said.stderr)

	// A client of protocol 0 sends what it takes to be missing, and nothing else.
	mayFail := s.upToDate || w.transport == "protocol-0" && s.fails == ""
	switch {
	case said.isRejected() && s.fails != "":
		w.checkRejected(t, s, said, before)
	case said.err != nil && s.noSummary && strings.Contains(said.stderr, "the refs are updated, but"):
	case said.err != nil && (s.fails != "" || mayFail):
		w.checkFailed(t, s, said, before)
	case said.err != nil:
		t.Errorf("the push fails: %v", said.err)
	case s.fails != "" && !mayFail:
		t.Error("the push does not fail")
	default:
		w.checkPushed(t, s, said, before)
	}
	if !regexp.MustCompile(s.warns).MatchString(said.stderr) && w.transport != "protocol-0" {
		t.Errorf("it says %q, not %q", said.stderr, s.warns)
	}
}

// Every error has a reason, which names an object or a ref.
const (
	anObject = `[0-9a-f]{64}|[0-9a-f]{2}/[0-9a-f]{62}`
	reason   = anObject + `|\b(main|again|other)\b`
)

// isRejected reports whether all that was pushed was rejected, which need be no error.
func (s saying) isRejected() bool {
	others := func(r report.Ref) bool { return r.Status != report.Rejected }
	return len(s.result.Refs) > 0 && !slices.ContainsFunc(s.result.Refs, others)
}

func (w *world) checkRejected(t *testing.T, s state, said saying, before map[string]string) {
	t.Helper()
	if diff := cmp.Diff(before, refFiles(t, w.target)); diff != "" {
		t.Errorf("refs have moved:\n%s", diff)
	}
	if !regexp.MustCompile(s.fails).MatchString(said.stderr) || said.result.Refs[0].Reason == "" {
		t.Errorf("it says %q, and %+v", said.stderr, said.result.Refs)
	}
}

func (w *world) checkFailed(t *testing.T, s state, said saying, before map[string]string) {
	t.Helper()
	if diff := cmp.Diff(before, refFiles(t, w.target)); diff != "" {
		t.Errorf("refs have moved:\n%s", diff)
	}
	want := s.fails
	if want == "" || w.transport == "protocol-0" {
		want = reason
	}
	said.checkReason(t, want, w.transport)
}

// checkReason checks that what is printed, and the error of the JSON document, say the reason. A client
// of protocol 0 has what it is told, and what the receiver prints.
func (s saying) checkReason(t *testing.T, want, transport string) {
	t.Helper()
	is := regexp.MustCompile(want)
	if text := s.stderr + s.err.Error(); !is.MatchString(text) {
		t.Errorf("it says %q, not %q", text, want)
	}
	if transport != "protocol-0" && !is.MatchString(s.result.Error) {
		t.Errorf("the error is %q, not %q", s.result.Error, want)
	}
}

func (w *world) checkPushed(t *testing.T, s state, said saying, before map[string]string) {
	t.Helper()
	after := refFiles(t, w.target)
	for _, ref := range s.refs {
		w.checkPulled(t, ref)
		delete(before, "heads/"+ref)
		delete(after, "heads/"+ref)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("other refs have changed:\n%s", diff)
	}
	if w.transport == "protocol-0" {
		return
	}
	told := map[string]bool{}
	for _, ref := range said.result.Refs {
		told[string(ref.Ref)] = ref.New != ""
	}
	for _, ref := range s.refs {
		if !told[ref] {
			t.Errorf("nothing is told of %s: %v", ref, said.result.Refs)
		}
	}
}

// checkPulled is a user who pulls a ref over HTTP: everything of it is there, and it is
// what the source has.
func (w *world) checkPulled(t *testing.T, ref string) {
	t.Helper()
	user := filepath.Join(t.TempDir(), "user")
	server := httptest.NewServer(http.FileServer(http.Dir(w.target)))
	defer server.Close()
	if err := otrepo.Init(user, "archive"); err != nil {
		t.Fatal(err)
	}
	config, err := os.OpenFile(filepath.Join(user, "config"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(config, "\n[remote \"o\"]\nurl=%s\ngpg-verify=false\n", server.URL)
	config.Close()
	if out, err := exec.CommandContext(t.Context(), "ostree", "--repo="+user, "pull", "o", ref).CombinedOutput(); err != nil {
		t.Errorf("a user who pulls %s gets %v: %s", ref, err, out)
		return
	}
	output(t, "ostree", "--repo="+user, "fsck", "-q")
	if got, want := treeOf(t, user, "remotes/o/"+ref), treeOf(t, w.source, "heads/"+ref); got != want {
		t.Errorf("%s has the tree %v, not %v", ref, got, want)
	}
}

// treeOf returns the tree of the commit that a file below refs/ shows.
func treeOf(t *testing.T, dir, ref string) ostree.Tree {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "refs", ref))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := ostree.ParseChecksum(strings.TrimSpace(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	repo, err := ostree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	commit, err := repo.LoadCommit(sum)
	if err != nil {
		t.Fatal(err)
	}
	defer commit.Close()
	return commit.Tree
}

// saying is what a push has said.
type saying struct {
	err    error
	stderr string
	result report.Result
}

// push pushes refs from the source to the target.
func (w *world) push(t *testing.T, refs ...string) saying {
	t.Helper()
	var said saying
	if w.transport == "protocol-0" {
		said = w.pushZero(t, refs...)
	} else {
		said = w.pushWith(t, nil, refs...)
	}
	if strings.Contains(said.stderr, "panic:") {
		t.Errorf("it crashes:\n%s", said.stderr)
	}
	return said
}

func (w *world) pushWith(t *testing.T, options []string, refs ...string) saying {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := w.pushCommand(ctx, options, refs...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	said := saying{err: cmd.Run(), stderr: stderr.String()}
	if err := json.Unmarshal(stdout.Bytes(), &said.result); err != nil {
		t.Errorf("%v in %q; standard error: %s", err, &stdout, &stderr)
	}
	return said
}

func (w *world) pushCommand(ctx context.Context, options []string, refs ...string) *exec.Cmd {
	transport := w.transport
	if transport == "protocol-0" {
		transport = "stream"
	}
	options = append(options, "--json", "--repo="+w.source, "--transport="+transport)
	return w.remote.pushCommand(ctx, w.remote.server.Port(), options, refs...)
}

func (w *world) pushZero(t *testing.T, refs ...string) saying {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stderr bytes.Buffer
	c := client0.Client{
		Repo: w.source, Refs: refs, Stderr: &stderr,
		Command: []string{"ostree-receive-0", "--repo=" + w.target},
	}
	err := c.Push(ctx)
	return saying{err: err, stderr: stderr.String()}
}

// refFiles returns the files below a repository's refs, with what is in them or what
// they link to.
func refFiles(t *testing.T, repo string) map[string]string {
	t.Helper()
	dir := filepath.Join(repo, "refs")
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch d.Type() {
		case 0:
			content, err := os.ReadFile(path)
			files[name] = string(content)
			return err
		case fs.ModeSymlink:
			to, err := os.Readlink(path)
			files[name] = "-> " + to
			return err
		}
		files[name] = d.Type().String()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// objectFiles returns the objects of a repository that have that extension.
func objectFiles(t *testing.T, repo, extension string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(repo, "objects", "*", "*."+extension))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s has no %s: %v", repo, extension, err)
	}
	return found
}

// remove removes files.
func remove(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// objectOf is the path of an object, without its extension.
func objectOf(repo, sum string) string { return filepath.Join(repo, "objects", sum[:2], sum[2:]) }

// commitOf returns the checksum of the commit of a ref.
func commitOf(t *testing.T, repo, ref string) string {
	t.Helper()
	return strings.TrimSpace(output(t, "ostree", "--repo="+repo, "rev-parse", ref))
}

// try runs a program, which may fail.
func try(t *testing.T, name string, args ...string) error {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	t.Logf("%s %q: %v\n%s", name, args, err, out)
	return err
}
