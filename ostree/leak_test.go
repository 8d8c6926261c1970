package ostree_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"ostree-push/ostree"
)

// TestLeaks goes through all that a push does, and through what can go wrong,
// again and again: memory, open files and threads stay level. Leaks too small
// to show here are found by the address sanitizer, when it sees all of GLib's
// allocations:
//
//	G_SLICE=always-malloc go test -asan ./ostree
func TestLeaks(t *testing.T) {
	if inOwnProcess(t) {
		return
	}

	rounds, warmUp := 1000, 200
	// What is instrumented is not asked how much memory it takes, and takes long.
	if testing.Short() || instrumented() {
		rounds, warmUp = 250, 100
	}
	const (
		// The heap does not come back to the same size each time. A commit or
		// a summary that leaks in every round is more than this, even with
		// -short, for it has largeText in it.
		memoryNoise = 2 << 20
		// The Go runtime starts threads when it sees fit.
		threadNoise = 5
	)

	l := newLeakTest(t)
	for i := range warmUp {
		l.round(t, i)
	}
	before := l.usage(t)
	for i := warmUp; i < rounds; i++ {
		l.round(t, i)
	}
	after := l.usage(t)

	t.Logf("after %d rounds: %v", warmUp, before)
	t.Logf("after %d rounds: %v", rounds, after)
	if after.memory > before.memory+memoryNoise && !instrumented() {
		t.Errorf("memory grew by %d KiB", (after.memory-before.memory)>>10)
	}
	checkFiles(t, before.files)
	if after.threads > before.threads+threadNoise {
		t.Errorf("there are %d more threads", after.threads-before.threads)
	}
}

// largeText is in the commits and, as names of refs, in the summaries.
var largeText = strings.Repeat("All work and no play. ", 1000)

type leakTest struct {
	server *httptest.Server
	dir    string
	// Transactions of one target are committed, those of the other aborted.
	targets [2]string
	bare    string
	commit  ostree.Checksum
	object  ostree.Checksum // in bare
	missing ostree.Checksum // nowhere
	refs    ostree.Refs     // many, of bare's commit
	gpg     gpgKey
}

func newLeakTest(t *testing.T) *leakTest {
	source := initRepo(t, "archive")
	dir := tree(t)
	newest := newCommit{ref: "main", dir: dir, subject: "subject", body: largeText, args: []string{"--add-metadata-string=text=" + largeText}}
	l := &leakTest{
		server:  httptest.NewServer(http.FileServer(http.Dir(source))),
		dir:     t.TempDir(),
		targets: [2]string{initRepo(t, "archive"), initRepo(t, "archive")},
		bare:    initRepo(t, "bare-user"),
		commit:  commit(t, source, newest),
		missing: checksum(t, strings.Repeat("0123456789abcdef", 4)),
		refs:    ostree.Refs{},
		gpg:     newGPGKey(t),
	}
	t.Setenv("OSTREE_DUMMY_SIGN_ENABLED", "1")
	t.Cleanup(l.server.Close)
	program(t, "--repo="+source, "summary", "-u")
	program(t, "--repo="+l.targets[0], "config", "set", "core.collection-id", "org.example.Leak")
	sum := commit(t, l.bare, newest)
	l.object = objectOf(t, l.bare, "large")
	for long := strings.Repeat("0123456789/", 100); len(l.refs)*len(long) < len(largeText); {
		l.refs[ostree.Ref(fmt.Sprint(long, len(l.refs)))] = sum
	}
	return l
}

// round is one push, with everything that can go wrong on its way.
func (l *leakTest) round(t *testing.T, i int) {
	ctx := context.Background()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fails := func(err error, want error) {
		t.Helper()
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()

	dir := filepath.Join(l.dir, "quarantine")
	defer os.RemoveAll(dir)
	_, err := ostree.Open(dir)
	fails(err, ostree.ErrNotFound)
	target, err := ostree.Open(l.targets[i%2])
	check(err)
	defer target.Close()
	unlock, err := target.LockShared(ctx)
	check(err)
	check(unlock())

	q, err := ostree.Create(dir, ostree.ModeArchive, ostree.CreateOptions{
		Parent: target.Path(), Core: map[string]string{"fsync": "false"},
	})
	check(err)
	defer q.Close()
	check(q.AddRemote("origin", l.server.URL, nil))
	_, err = q.FetchSummary(ctx, "missing", 0)
	fails(err, ostree.ErrNotFound)
	summary, err := q.FetchSummary(ctx, "origin", 0)
	check(err)
	refs, err := ostree.ParseSummary(summary)
	check(err)
	_, err = ostree.ParseSummary(summary[:len(summary)/2])
	fails(err, nil)
	fails(q.Pull(cancelled, pullAll(refs["main"])), ostree.ErrCancelled)
	fails(q.Pull(ctx, pullAll(l.missing)), ostree.ErrNotFound)
	pull := pullAll(refs["main"])
	pull.Progress = func(ostree.PullProgress) {}
	check(q.Pull(ctx, pull))

	_, err = q.LoadCommit(l.missing)
	fails(err, ostree.ErrNotFound)
	offered, err := q.LoadCommit(l.commit)
	check(err)
	defer offered.Close()
	offered.ContentDigest(ostree.MetaRefBinding)
	if bound, _ := offered.MetaStrings(ostree.MetaRefBinding); !slices.Equal(bound, []string{"main"}) {
		t.Fatalf("bound to %q", bound)
	}
	if text, ok := offered.MetaString("text"); text != largeText {
		t.Fatalf("text is %.20q, %v", text, ok)
	}
	if _, ok := offered.MetaString(ostree.MetaRefBinding); ok {
		t.Fatal("a list is a string")
	}

	tx, err := target.Begin(ctx)
	check(err)
	defer func() { check(tx.Abort()) }()
	notThere := *offered
	notThere.Checksum = l.missing
	_, err = tx.WriteCommitLike(ctx, q, &notThere, ostree.Checksum{}, ostree.MetadataEdit{})
	fails(err, ostree.ErrNotFound)
	fails(tx.Import(ctx, q, ostree.ObjectFile, l.missing), ostree.ErrNotFound)
	other, err := ostree.Open(l.bare)
	check(err)
	defer other.Close()
	check(tx.Import(ctx, other, ostree.ObjectFile, l.object))
	check(tx.Take(ctx, other, ostree.ObjectName{Type: ostree.ObjectFile, Sum: l.object}))
	importTree(t, target, tx, q, l.commit)
	check(tx.ImportCommit(ctx, q, l.commit))
	have, err := target.Refs(ctx)
	check(err)
	merged, err := tx.WriteCommitLike(ctx, q, offered, have["main"], ostree.MetadataEdit{
		Strings:     map[string]string{"text": largeText, ostree.MetaCollectionBinding: target.CollectionID()},
		StringLists: map[string][]string{ostree.MetaRefBinding: {"main"}},
		Remove:      []string{"other"},
	})
	check(err)
	if i%2 == 0 {
		check(tx.Commit(ctx))
		list, err := target.ListRefs(ctx)
		check(err)
		check(target.CheckRefUpdate("main"))
		check(target.UpdateRefs(ctx, []ostree.RefUpdate{{Ref: "main", Old: list.Refs["main"], New: merged}, {Ref: "main", New: merged}},
			func(ostree.RefUpdate, error) {}))
		if i%10 == 0 {
			check(target.RegenerateMetadata(ctx, ostree.Signers{}))
		}
	}

	l.sign(t, check, fails, q, i)

	has, err := q.HasObject(ctx, ostree.ObjectCommit, l.commit)
	check(err)
	if !has {
		t.Fatal("the commit is not there")
	}
	_, err = q.HasObject(ctx, ostree.ObjectDirTree, l.missing)
	check(err)
	check(q.CheckObject(ctx, ostree.ObjectCommit, l.commit))
	fails(q.CheckObject(ctx, ostree.ObjectCommit, l.missing), nil)
	raw, err := q.Metadata(ostree.ObjectDirTree, offered.Tree.Contents)
	check(err)
	check(ostree.CheckBytes(ostree.ObjectDirTree, offered.Tree.Contents, raw))
	fails(ostree.CheckBytes(ostree.ObjectDirMeta, offered.Tree.Contents, raw), nil)
	fails(ostree.CheckBytes(ostree.ObjectDirTree, l.missing, raw), nil)
	_, err = q.Metadata(ostree.ObjectDirTree, l.missing)
	fails(err, ostree.ErrNotFound)
	_, _, err = q.DirTree(offered.Tree.Contents)
	check(err)
	_, _, err = q.DirTree(l.missing)
	fails(err, ostree.ErrNotFound)
	detached, err := q.DetachedMetadata(ctx, l.commit)
	check(err)
	check(q.WriteDetachedMetadata(ctx, l.commit, detached))

	bare, err := ostree.Open(l.bare)
	check(err)
	defer bare.Close()
	summary, err = bare.NewSummary(l.refs)
	check(err)
	_, err = ostree.ParseSummary(summary)
	check(err)
	_, err = bare.NewSummary(ostree.Refs{"main": l.missing})
	fails(err, ostree.ErrNotFound)
	_, err = bare.OpenContent(ctx, l.missing)
	fails(err, ostree.ErrNotFound)
	content, err := bare.OpenContent(ctx, l.object)
	check(err)
	archived, err := io.ReadAll(content)
	check(err)
	check(content.Close())
	check(ostree.CheckBytes(ostree.ObjectFile, l.object, archived))
	fails(ostree.CheckBytes(ostree.ObjectFile, l.missing, archived), nil)
	fails(ostree.CheckBytes(ostree.ObjectFile, l.object, archived[:len(archived)/2]), nil)
	fails(ostree.CheckBytes(ostree.ObjectFile, l.object, archived[:10]), nil)
	file, err := os.Create(filepath.Join(dir, "object"))
	check(err)
	defer file.Close()
	_, err = file.Write(archived)
	check(err)
	check(ostree.CheckContentFile(ctx, l.object, file))
	fails(ostree.CheckContentFile(cancelled, l.object, file), ostree.ErrCancelled)
	fails(ostree.CheckContentFile(ctx, l.missing, file), nil)
	comes := func(n int) io.ReadCloser { return io.NopCloser(bytes.NewReader(archived[:n])) }
	check(ostree.CheckContent(ctx, l.object, comes(len(archived))))
	fails(ostree.CheckContent(cancelled, l.object, comes(len(archived))), ostree.ErrCancelled)
	fails(ostree.CheckContent(ctx, l.missing, comes(len(archived))), nil)
	fails(ostree.CheckContent(ctx, l.object, comes(len(archived)-1)), nil)
	fails(ostree.CheckContent(ctx, l.object, comes(10)), nil)
}

// sign signs and verifies, in all ways and with all ways to fail. GPG takes its
// time, so not in every round.
func (l *leakTest) sign(t *testing.T, check func(error), fails func(err, want error), q *ostree.Repo, i int) {
	ctx := context.Background()
	_, err := q.CommitObject(l.missing)
	fails(err, ostree.ErrNotFound)
	object, err := q.CommitObject(l.commit)
	check(err)
	_, err = ostree.NewSign("nonsense")
	fails(err, nil)
	dummy, err := ostree.NewSign("dummy")
	check(err)
	defer dummy.Close()
	check(dummy.SetSecretKey("key"))
	signature, err := dummy.Sign(ctx, object)
	check(err)
	check(dummy.AddPublicKey("key"))
	check(dummy.Verify(object, [][]byte{signature}))
	fails(dummy.Verify(object, [][]byte{[]byte(largeText)}), nil)

	const key = "ostree.sign.dummy"
	none, err := q.CommitSignatures(ctx, l.commit, key)
	check(err)
	if len(none) != 0 {
		t.Fatalf("%d signatures of an unsigned commit", len(none))
	}
	check(q.AddCommitSignatures(ctx, l.commit, key, [][]byte{signature, []byte(largeText)}))
	check(q.AddCommitSignatures(ctx, l.commit, key, [][]byte{signature}))
	some, err := q.CommitSignatures(ctx, l.commit, key)
	check(err)
	if len(some) != 2 {
		t.Fatalf("%d signatures, not 2", len(some))
	}
	check(q.AddSummarySignatures(key, some))
	check(q.AddSummarySignatures(key, some))

	if i%100 != 0 {
		return
	}
	if !ostree.UseTempDir(l.dir) {
		t.Error("the directory for temporary files is another one")
	}
	fails(q.GPGSignCommit(ctx, l.commit, "nobody", l.gpg.home), nil)
	fails(q.GPGVerify(ctx, "origin", object, nil), ostree.ErrNoSignature)
	check(q.GPGSignCommit(ctx, l.commit, l.gpg.id, l.gpg.home))
	check(q.GPGSignCommit(ctx, l.commit, l.gpg.id, l.gpg.home))
	signatures, err := q.CommitSignatures(ctx, l.commit, ostree.GPGSignatures)
	check(err)
	fails(q.GPGVerify(ctx, "origin", object, signatures), ostree.ErrMissingKey)
	check(q.AddRemote("trusted", l.server.URL, map[string]string{"gpgkeypath": l.gpg.public}))
	check(q.GPGVerify(ctx, "trusted", object, signatures))
}

// instrumented reports whether this is a build whose own book-keeping grows.
func instrumented() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool {
		return s.Value == "true" && (s.Key == "-race" || s.Key == "-asan" || s.Key == "-msan")
	})
}

// inOwnProcess reports whether the test is over, which has run in a process of its own, where all threads share one heap: how many
// there are, and how full, would depend on which thread did what in the tests before.
func inOwnProcess(t *testing.T) bool {
	const oneHeap = "MALLOC_ARENA_MAX" // mallopt(3)
	if os.Getenv(oneHeap) == "1" {
		return false
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", fmt.Sprint("-test.short=", testing.Short()))
	cmd.Env = append(os.Environ(), oneHeap+"=1")
	said, err := cmd.CombinedOutput()
	t.Logf("%s", said)
	if err != nil {
		t.Fatal(err)
	}
	return true
}

// usage is what the process has taken from the system.
type usage struct {
	memory, files, threads int
}

func (u usage) String() string {
	return fmt.Sprintf("%d KiB, %d files, %d threads", u.memory>>10, u.files, u.threads)
}

func (l *leakTest) usage(t *testing.T) usage {
	t.Helper()
	l.server.CloseClientConnections()
	runtime.GC()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	u := usage{files: openFiles(t)}
	for line := range bytes.Lines(status) {
		var kib int
		if n, _ := fmt.Sscanf(string(line), "VmRSS: %d kB", &kib); n == 1 {
			u.memory = kib << 10
		}
		fmt.Sscanf(string(line), "Threads: %d", &u.threads)
	}
	return u
}
