package receive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ostree-push/internal/otrepo"
	"ostree-push/ostree"
	"ostree-push/receive/config"
	"ostree-push/receive/pull"
	"ostree-push/receive/quarantine"
	"ostree-push/receive/upload"
	"ostree-push/report"
	"ostree-push/stream"
)

// openSource opens a source that brings objects from the archive repository at a path into a quarantine.
type openSource func(t *testing.T, ctx context.Context, from string, q *quarantine.Quarantine) source

// TestSources has every source do what the interface says that it owes.
func TestSources(t *testing.T) {
	if _, err := exec.LookPath("ostree"); err != nil {
		t.Skip(err)
	}
	for name, open := range map[string]openSource{"stream": openStream, "directory": openDirectory, "http": openHTTP} {
		t.Run(name, func(t *testing.T) {
			for _, test := range []struct {
				name string
				run  func(*testing.T, openSource)
			}{
				{"all", bringsAll}, {"nothing", bringsNothing}, {"asked", bringsWhatIsAsked}, {"lacks", saysWhatItLacks},
				{"damaged", bringsNothingDamaged}, {"cancelled", saysTheCause},
			} {
				t.Run(test.name, func(t *testing.T) { test.run(t, open) })
			}
		})
	}
}

const sourceTimeout = 20 * time.Second

func openStream(t *testing.T, ctx context.Context, from string, q *quarantine.Quarantine) source {
	stdin, toReceiver, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromReceiver, stdout := io.Pipe()
	done := make(chan error, 1)
	go func() {
		defer toReceiver.Close()
		done <- testPusher{ctx: t.Context(), path: from, conn: stream.New(stream.Pusher, fromReceiver, toReceiver)}.run()
	}()
	t.Cleanup(func() {
		stdout.Close()
		stdin.Close()
		if err := <-done; err != nil && !t.Failed() && !errors.Is(err, stream.ErrEnded) && !errors.Is(err, os.ErrClosed) {
			t.Logf("the pusher: %v", err)
		}
	})
	pusher, err := upload.Greet(ctx, stdin, stdout)
	if err != nil {
		t.Fatal(err)
	}
	s, err := upload.Open(pusher, q, sourceTimeout, discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func openDirectory(t *testing.T, _ context.Context, from string, q *quarantine.Quarantine) source {
	return openPull(t, &url.URL{Scheme: "file", Path: from}, q)
}

func openHTTP(t *testing.T, _ context.Context, from string, q *quarantine.Quarantine) source {
	server := httptest.NewServer(http.FileServer(http.Dir(from)))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return openPull(t, u, q)
}

func openPull(t *testing.T, u *url.URL, q *quarantine.Quarantine) source {
	s, err := pull.Open(u, q, pull.Options{Allowed: func(*url.URL) bool { return true }, Timeout: sourceTimeout, Sink: discard()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func discard() report.Sink { return report.NewText(io.Discard, "", report.Error) }

// testPusher answers a receiver as a pusher of ours does, but that it lists all that it has, and sends what its
// repository has in the files of objects, whatever that is.
type testPusher struct {
	ctx  context.Context
	path string
	conn *stream.Conn
}

func (p testPusher) run() error {
	repo, err := ostree.Open(p.path)
	if err != nil {
		return err
	}
	defer repo.Close()
	if ok, noise := p.conn.Greeted(); !ok {
		return fmt.Errorf("no greeting, but %q", noise)
	}
	if _, _, err := stream.Next[stream.Hello](p.conn); err != nil {
		return err
	}
	if err := p.offer(repo); err != nil {
		return err
	}
	wanted, err := seriesOf[stream.Wanted](p.conn)
	if err != nil || len(wanted) == 0 {
		return err
	}
	if err := p.list(repo, wanted); err != nil {
		return err
	}
	for {
		asked, err := seriesOf[stream.Ask](p.conn)
		if err != nil {
			return err
		}
		if err := p.send(asked); err != nil {
			return errors.Join(err, p.conn.Send(stream.Failure{Reason: err.Error()}))
		}
	}
}

// seriesOf reads a series of messages to its end.
func seriesOf[M interface {
	stream.Message
	~[]E
}, E any](conn *stream.Conn) (all M, err error) {
	for {
		m, more, err := stream.Next[M](conn)
		if err != nil || !more {
			return all, err
		}
		all = append(all, m...)
	}
}

// offer offers all refs, and sends the commits of those that are not up to date.
func (p testPusher) offer(repo *ostree.Repo) error {
	refs, err := repo.Refs(p.ctx)
	if err != nil {
		return err
	}
	var offer stream.Offer
	for _, ref := range refs.Sorted() {
		commit, err := repo.LoadCommit(refs[ref])
		if err != nil {
			return err
		}
		offer = append(offer, stream.RefOffer{Ref: ref, Commit: refs[ref], Digest: commit.PublishedDigest()})
		commit.Close()
	}
	if err := p.conn.SendAll(offer); err != nil {
		return err
	}
	state, err := seriesOf[stream.State](p.conn)
	if err != nil || len(state) != len(offer) {
		return fmt.Errorf("the state of %d refs, and %d were offered: %w", len(state), len(offer), err)
	}
	for i, o := range offer {
		if state[i].UpToDate {
			continue
		}
		object, err := repo.CommitObject(o.Commit)
		if err == nil {
			err = p.conn.Queue(stream.Commit{Sum: o.Commit, Object: object})
		}
		if err != nil {
			return err
		}
	}
	return p.conn.End(stream.Commit{})
}

// list lists what commits consist of, as far as it is there, and sends what of it is missing.
func (p testPusher) list(repo *ostree.Repo, wanted []ostree.Checksum) error {
	var (
		mu   sync.Mutex
		have []ostree.ObjectName
		list stream.List
	)
	err := walkTrees(p.ctx, repo, wanted, func(e ostree.ObjectName) error {
		has, err := repo.HasObject(p.ctx, e.Type, e.Sum)
		if err == nil && has {
			mu.Lock()
			defer mu.Unlock()
			have = append(have, e)
			list.Add(e)
		}
		return err
	})
	if err == nil {
		err = errors.Join(p.conn.Send(list), p.conn.End(list))
	}
	if err != nil {
		return err
	}
	missing, err := stream.ReadMissing(p.conn, len(have))
	if err == nil {
		_, err = seriesOf[stream.Partial](p.conn)
	}
	if err != nil {
		return err
	}
	var due []ostree.ObjectName
	for i, e := range have {
		if missing.Has(i) {
			due = append(due, e)
		}
	}
	return p.send(due)
}

func (p testPusher) send(objects []ostree.ObjectName) error {
	for _, e := range objects {
		content, err := os.ReadFile(filepath.Join(p.path, ostree.ArchivePath(e.Type, e.Sum)))
		if err == nil {
			err = p.conn.SendData(stream.Data{ObjectName: e, Length: int64(len(content)), Last: true}, bytes.NewReader(content))
		}
		if err != nil {
			return err
		}
	}
	return p.conn.End(stream.Data{})
}

// newSourceRepo makes a repository with a commit of three files, of which one is large, on the ref main.
func newSourceRepo(t *testing.T) (path string, sum ostree.Checksum) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "source")
	tree := t.TempDir()
	random := make([]byte, 2*quarantine.SmallSize)
	for i := range random {
		random[i] = byte(i * i >> 7)
	}
	err := errors.Join(otrepo.Init(path, "archive"), os.Mkdir(filepath.Join(tree, "dir"), 0o755),
		os.WriteFile(filepath.Join(tree, "a"), []byte("a"), 0o644), os.WriteFile(filepath.Join(tree, "dir/b"), []byte("b"), 0o644),
		os.WriteFile(filepath.Join(tree, "large"), random, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	text, err := otrepo.Commit{Ref: "main", Dir: tree}.Write(path)
	if err != nil {
		t.Fatal(err)
	}
	if sum, err = ostree.ParseChecksum(text); err != nil {
		t.Fatal(err)
	}
	repo, err := ostree.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	if err := repo.RegenerateMetadata(t.Context(), ostree.Signers{}); err != nil {
		t.Fatal(err)
	}
	return path, sum
}

// bringing is a source at work on an empty target.
type bringing struct {
	t      *testing.T
	r      *receiver
	q      *quarantine.Quarantine
	from   string
	commit ostree.Checksum
	source source
}

// bring opens a source of a new repository, which prepare may have changed before, as well as the target.
func bring(t *testing.T, ctx context.Context, open openSource, prepare func(from, target string)) *bringing {
	t.Helper()
	b := &bringing{t: t}
	b.from, b.commit = newSourceRepo(t)
	path := filepath.Join(t.TempDir(), "target")
	if err := otrepo.Init(path, "archive"); err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(b.from, path)
	}
	target, err := ostree.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	if b.q, err = quarantine.New(target); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.q.Remove)
	b.r = &receiver{session: &session{config: &config.Config{}}, sink: discard(), target: target}
	b.source = open(t, ctx, b.from, b.q)
	return b
}

// refs takes what is offered.
func (b *bringing) refs() {
	b.t.Helper()
	refs, digests, err := b.source.Refs(b.t.Context())
	if err != nil || len(refs) != 1 || refs["main"] != b.commit {
		b.t.Fatalf("offered %v, %v", refs, err)
	}
	repo, err := ostree.Open(b.from)
	if err != nil {
		b.t.Fatal(err)
	}
	defer repo.Close()
	commit, err := repo.LoadCommit(b.commit)
	if err != nil {
		b.t.Fatal(err)
	}
	defer commit.Close()
	if digest, tells := digests["main"]; tells && digest != commit.PublishedDigest() {
		b.t.Errorf("the digest is told as %x", digest)
	}
}

// noTrees is what a target has of a ref that it does not have.
func noTrees(ostree.Ref) []ostree.Tree { return nil }

// commits brings the commit.
func (b *bringing) commits() {
	b.t.Helper()
	b.refs()
	if err := b.source.Commits(b.t.Context(), []ostree.Checksum{b.commit}, nil, noTrees); err != nil {
		b.t.Fatal(err)
	}
	commit := ostree.ObjectName{Type: ostree.ObjectCommit, Sum: b.commit}
	if had, err := b.r.target.HasObject(b.t.Context(), commit.Type, commit.Sum); err != nil || !had && !b.q.Has(commit) {
		b.t.Errorf("the commit has not been brought: %v", err)
	}
}

func (b *bringing) missing() []ostree.ObjectName {
	b.t.Helper()
	missing, err := b.r.missing(b.t.Context(), b.q, []ostree.Checksum{b.commit})
	if err != nil {
		b.t.Fatal(err)
	}
	return missing
}

func bringsAll(t *testing.T, open openSource) {
	b := bring(t, t.Context(), open, nil)
	b.commits()
	if err := b.source.Objects(t.Context(), []ostree.Checksum{b.commit}); err != nil {
		t.Fatal(err)
	}
	if missing := b.missing(); len(missing) > 0 {
		t.Errorf("missing are %v", missing)
	}
	if err := b.q.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if totals := b.source.Totals(); totals.Objects < 7 || totals.Bytes < 100 {
		t.Errorf("totals %+v", totals)
	}
}

func bringsNothing(t *testing.T, open openSource) {
	b := bring(t, t.Context(), open, nil)
	b.refs()
	// The commit would be another one if it had been pushed.
	err := b.source.Commits(t.Context(), nil, ostree.Refs{"main": {1}}, noTrees)
	if err == nil {
		err = b.source.Objects(t.Context(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(b.q.Dir().Name(), "objects/??/*"))
	if err != nil || len(found) > 0 {
		t.Errorf("brought %v, %v", found, err)
	}
}

// The target has trees whose content is gone, as `ostree fsck --delete` or an interrupted prune leave them.
func bringsWhatIsAsked(t *testing.T, open openSource) {
	b := bring(t, t.Context(), open, func(from, target string) {
		runOSTreeIn(t, "pull-local", "--repo="+target, from, "main")
		removeObjects(t, target, "*.filez")
	})
	b.commits()
	if err := b.source.Objects(t.Context(), []ostree.Checksum{b.commit}); err != nil {
		t.Fatal(err)
	}
	if missing := b.missing(); len(missing) > 0 {
		if err := b.source.Fetch(t.Context(), missing); err != nil {
			t.Fatal(err)
		}
	}
	if missing := b.missing(); len(missing) > 0 {
		t.Errorf("missing are %v", missing)
	}
	if err := b.q.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func saysWhatItLacks(t *testing.T, open openSource) {
	b := bring(t, t.Context(), open, func(from, _ string) { removeObjects(t, from, "*.filez") })
	b.commits()
	err := b.source.Objects(t.Context(), []ostree.Checksum{b.commit})
	if err == nil {
		missing := b.missing()
		if len(missing) != 3 {
			t.Fatalf("missing are %v", missing)
		}
		err = b.source.Fetch(t.Context(), missing)
	}
	if err == nil {
		t.Error("nothing is said of objects that are not there")
	}
	if len(b.missing()) == 0 {
		t.Error("objects have been brought that are not there")
	}
}

func bringsNothingDamaged(t *testing.T, open openSource) {
	b := bring(t, t.Context(), open, func(from, _ string) {
		files := objects(t, from, "*.filez")
		for i, file := range files {
			content, err := os.ReadFile(files[(i+1)%len(files)])
			if err == nil && i == 0 {
				err = errors.Join(os.Remove(file), os.WriteFile(file, content, 0o644))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	b.commits()
	if err := b.source.Objects(t.Context(), []ostree.Checksum{b.commit}); err == nil {
		t.Error("nothing is said of a damaged object")
	}
}

func saysTheCause(t *testing.T, open openSource) {
	ctx, cancel := context.WithCancelCause(t.Context())
	b := bring(t, ctx, open, nil)
	gone := errors.New("gone")
	cancel(gone)
	_, _, err := b.source.Refs(ctx)
	if !errors.Is(err, gone) || quarantine.IsFault(err) {
		t.Errorf("cancelled: %v", err)
	}
}

// objects returns the files of objects of a repository whose names match a pattern, the largest last.
func objects(t *testing.T, repo, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repo, "objects/??", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	return files
}

func removeObjects(t *testing.T, repo, pattern string) {
	t.Helper()
	for _, file := range objects(t, repo, pattern) {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

func runOSTreeIn(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "ostree", args...).CombinedOutput(); err != nil {
		t.Fatalf("ostree %v: %v\n%s", args, err, out)
	}
}
