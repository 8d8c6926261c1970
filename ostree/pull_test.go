package ostree_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ostree-push/ostree"
)

func TestPull(t *testing.T) {
	source, refs := twoRefs(t, "")
	sum := commit(t, source, newCommit{ref: "main", dir: tree(t), subject: "newer"})
	repo := create(t, serve(t, source))
	var seen []ostree.PullProgress
	opts := pullAll(sum)
	opts.Progress = func(p ostree.PullProgress) { seen = append(seen, p) }
	if err := repo.Pull(context.Background(), opts); err != nil {
		t.Fatal(err)
	}
	program(t, "--repo="+repo.Path(), "fsck", "--quiet")
	if c := loadCommit(t, repo, sum); c.Partial || c.Parent != refs["main"] {
		t.Errorf("%+v", c)
	}
	for ref, sum := range refs { // main's is the parent
		if _, err := repo.LoadCommit(sum); !errors.Is(err, ostree.ErrNotFound) {
			t.Errorf("the commit of %s, which was not asked for: %v", ref, err)
		}
	}
	if refs := refsOf(t, repo.Path()); len(refs) != 0 {
		t.Errorf("a pull of commits made refs: %v", refs)
	}
	if len(seen) == 0 {
		t.Fatal("no progress")
	}
	const files = 5
	last := seen[len(seen)-1]
	// Newer versions count the request for detached metadata that there is none of.
	none := last.Requested - last.Fetched
	if last.Content != files || last.Fetched <= files || none < 0 || none > 1 || last.Bytes == 0 {
		t.Errorf("at the end: %+v", last)
	}
}

func TestPullMissing(t *testing.T) {
	source, refs := twoRefs(t, "")
	repo := create(t, serve(t, source))
	err := repo.Pull(context.Background(), pullAll(checksum(t, strings.Repeat("0", 63)+"1")))
	if !errors.Is(err, ostree.ErrNotFound) {
		t.Errorf("a commit that is not there: %v", err)
	}
	if err := os.Remove(objectPath(source, objectOf(t, source, "file"), "filez")); err != nil {
		t.Fatal(err)
	}
	if err := repo.Pull(context.Background(), pullAll(refs["main"])); !errors.Is(err, ostree.ErrNotFound) {
		t.Errorf("a file that is not there: %v", err)
	}
	if c := loadCommit(t, repo, refs["main"]); !c.Partial {
		t.Error("a commit without one of its files is not partial")
	}
}

// What PullTrustedHTTP lets in, CheckBytes keeps from getting any further.
func TestPullUntrusted(t *testing.T) {
	source, refs := twoRefs(t, "")
	object := objectPath(source, objectOf(t, source, "file"), "filez")
	data, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 0xff
	write(t, object, string(data))

	url := serve(t, source)
	opts := pullAll(refs["main"])
	opts.Flags &^= ostree.PullTrustedHTTP
	if err := create(t, url).Pull(context.Background(), opts); err == nil {
		t.Error("a corrupt object was pulled")
	}

	quarantine := create(t, url)
	if err := quarantine.Pull(context.Background(), pullAll(refs["main"])); err != nil {
		t.Fatal(err)
	}
	// A pull that trusts its source stores it, and whoever imports it has to check it.
	checkAll(t, quarantine, false)
}

// checkAll checks all content objects of an archive repository, of which all are whole, or one is not.
func checkAll(t *testing.T, repo *ostree.Repo, whole bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repo.Path(), "objects/??/*.filez"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, file := range files {
		sum, err := ostree.ParseChecksum(filepath.Base(filepath.Dir(file)) + strings.TrimSuffix(filepath.Base(file), ".filez"))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if ostree.CheckBytes(ostree.ObjectFile, sum, data) != nil {
			damaged++
		}
	}
	if (damaged == 0) != whole {
		t.Errorf("%d of %d objects are damaged", damaged, len(files))
	}
}

// Several pulls at once, each into a repository of its own.
func TestPullConcurrently(t *testing.T) {
	source, refs := twoRefs(t, "")
	program(t, "--repo="+source, "summary", "--update")
	url, dir := serve(t, source), t.TempDir()
	pull := func(name string) error {
		path := filepath.Join(dir, name)
		defer os.RemoveAll(path)
		repo, err := ostree.Create(path, ostree.ModeArchive, ostree.CreateOptions{
			Parent: source, Core: map[string]string{"fsync": "false"},
		})
		if err != nil {
			return err
		}
		defer repo.Close()
		if err := repo.AddRemote("origin", url, nil); err != nil {
			return err
		}
		summary, err := repo.FetchSummary(context.Background(), "origin", 0)
		if err != nil {
			return err
		}
		if got, err := ostree.ParseSummary(summary); err != nil || !maps.Equal(got, refs) {
			return fmt.Errorf("refs %v, %w", got, err)
		}
		opts, calls := pullAll(refs["main"], refs["a/b/other"]), 0
		opts.Progress = func(ostree.PullProgress) { calls++ }
		if err := repo.Pull(context.Background(), opts); err != nil {
			return err
		}
		if calls == 0 {
			return errors.New("no progress")
		}
		c, err := repo.LoadCommit(refs["main"])
		if err != nil {
			return err
		}
		defer c.Close()
		if c.Subject != "main" {
			return fmt.Errorf("subject %q", c.Subject)
		}
		return nil
	}
	var running sync.WaitGroup
	for worker := range 8 {
		running.Add(1)
		go func() {
			defer running.Done()
			for i := range 5 {
				if err := pull(fmt.Sprint(worker, "-", i)); err != nil {
					t.Errorf("worker %d: %v", worker, err)
					return
				}
			}
		}()
	}
	running.Wait()
}

func TestCancelledBefore(t *testing.T) {
	source, refs := twoRefs(t, "")
	repo := create(t, serve(t, source))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := repo.Pull(ctx, pullAll(refs["main"])); !errors.Is(err, ostree.ErrCancelled) {
		t.Errorf("Pull: %v", err)
	}
	if _, err := repo.FetchSummary(ctx, "origin", 0); !errors.Is(err, ostree.ErrCancelled) {
		t.Errorf("FetchSummary: %v", err)
	}
}

// A pull that is cancelled while it makes progress ends by itself, and another
// one can take its place.
func TestCancelledMeanwhile(t *testing.T) {
	source, dir := initRepo(t, "archive"), t.TempDir()
	const files = 500
	for i := range files {
		write(t, filepath.Join(dir, fmt.Sprint(i)), fmt.Sprint("content ", i))
	}
	sum := commit(t, source, newCommit{ref: "main", dir: dir})
	ctx, cancel := context.WithCancel(context.Background())
	handler := http.FileServer(http.Dir(source))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".filez") {
			cancel()
		}
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	repo := create(t, server.URL)
	done := make(chan error, 1)
	go func() { done <- repo.Pull(ctx, pullAll(sum)) }()
	if err := returns(t, "Pull", done); !errors.Is(err, ostree.ErrCancelled) {
		t.Errorf("%v", err)
	}
	if c := loadCommit(t, repo, sum); !c.Partial {
		t.Error("everything is there")
	}
	if err := repo.Pull(context.Background(), pullAll(sum)); err != nil {
		t.Fatal(err)
	}
	program(t, "--repo="+repo.Path(), "fsck", "--quiet")
}

// stallingServer serves a repository, except that files whose names have a
// certain end stop in the middle.
type stallingServer struct {
	*httptest.Server
	stalled chan struct{} // gets something for each of them
	broken  chan struct{} // when closed, so are their connections
}

func stall(t *testing.T, repo, end string) *stallingServer {
	t.Helper()
	s := &stallingServer{stalled: make(chan struct{}, 1000), broken: make(chan struct{})}
	handler := http.FileServer(http.Dir(repo))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, end) {
			handler.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Length", "1000000")
		fmt.Fprint(w, "not all")
		w.(http.Flusher).Flush()
		s.stalled <- struct{}{}
		select {
		case <-s.broken:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		s.CloseClientConnections() // else Close waits for stalled requests
		s.Close()
	})
	return s
}

// A transfer that stalls ends with its connection, not with its context. The
// repository may be closed before.
func TestCancelledStalled(t *testing.T) {
	source, refs := twoRefs(t, "")
	program(t, "--repo="+source, "summary", "--update")
	// What is opened once and for all is opened now.
	if err := create(t, serve(t, source)).Pull(context.Background(), pullAll(refs["main"])); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, end string
		call      func(context.Context, *ostree.Repo) error
	}{
		{"Pull", ".filez", func(ctx context.Context, repo *ostree.Repo) error {
			return repo.Pull(ctx, pullAll(refs["main"]))
		}},
		{"FetchSummary", "/summary", func(ctx context.Context, repo *ostree.Repo) error {
			_, err := repo.FetchSummary(ctx, "origin", 0)
			return err
		}},
	} {
		for _, closed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s closed %v", c.name, closed), func(t *testing.T) {
				before := openFiles(t)
				server := stall(t, source, c.end)
				repo := create(t, server.URL)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- c.call(ctx, repo) }()
				<-server.stalled
				cancel()
				if closed {
					repo.Close()
				}
				close(server.broken)
				// Which of the two ends it sees first is not certain.
				if err := returns(t, c.name, done); err == nil {
					t.Error("no error")
				}
				repo.Close()
				server.Close()
				checkFiles(t, before)
			})
		}
	}
}

// A connection that breaks without anybody's will is an error, and not that of
// a cancelled pull.
func TestConnectionLost(t *testing.T) {
	source, refs := twoRefs(t, "")
	server := stall(t, source, ".filez")
	repo := create(t, server.URL)
	done := make(chan error, 1)
	go func() { done <- repo.Pull(context.Background(), pullAll(refs["main"])) }()
	<-server.stalled
	close(server.broken)
	if err := returns(t, "Pull", done); err == nil || errors.Is(err, ostree.ErrCancelled) {
		t.Errorf("%v", err)
	}
}
