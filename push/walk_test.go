package push

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ostree-push/internal/otrepo"
	"ostree-push/ostree"
	"ostree-push/report"
	"ostree-push/stream"
)

// trees is a repository with commits of trees, each a set of paths of files with their contents.
type trees struct {
	t    *testing.T
	repo *ostree.Repo
}

func newTrees(t *testing.T) trees {
	t.Helper()
	if _, err := exec.LookPath("ostree"); err != nil {
		t.Skip(err)
	}
	dir := filepath.Join(t.TempDir(), "repo")
	if err := otrepo.Init(dir, "archive"); err != nil {
		t.Fatal(err)
	}
	repo, err := ostree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(repo.Close)
	return trees{t, repo}
}

// commit commits files, on top of a commit unless that is "".
func (r trees) commit(on string, files map[string]string) *ostree.Commit {
	r.t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name]))})
		if err == nil {
			_, err = io.WriteString(w, files[name])
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
	w.Close()
	args := []string{"commit", "--repo=" + r.repo.Path(), "--orphan", "--fsync=false", "--no-xattrs", "--no-bindings", "--timestamp=@1700000000"}
	if on != "" {
		args = append(args, "--tree=ref="+on)
	}
	cmd := exec.CommandContext(r.t.Context(), "ostree", append(args, "--tree=tar=-", "--tar-autocreate-parents")...)
	cmd.Stdin, cmd.Stderr = &archive, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatal(err)
	}
	sum, err := ostree.ParseChecksum(strings.TrimSpace(string(out)))
	if err != nil {
		r.t.Fatal(err)
	}
	commit, err := r.repo.LoadCommit(sum)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(commit.Close)
	return commit
}

// walk returns what is listed of a commit beside a base, in order, and how many trees are opened for that.
func (r trees) walk(commit *ostree.Commit, base *ostree.Tree) (list []ostree.ObjectName, opened int) {
	r.t.Helper()
	s := &streamPush{src: &source{repo: r.repo}}
	w := s.newWalker(r.t.Context(), func(e ostree.ObjectName) error {
		list = append(list, e)
		return nil
	})
	if err := w.walkCommit(commit.Checksum, base); err != nil {
		r.t.Fatal(err)
	}
	return list, w.opened
}

// count returns how many objects of each type there are.
func count(list []ostree.ObjectName) map[string]int {
	n := map[string]int{}
	for _, e := range list {
		n[e.Type.Extension()]++
	}
	return n
}

// What differs is listed, each object once and no tree before what it names, and no tree is opened that is the same.
func TestWalkBeside(t *testing.T) {
	r := newTrees(t)
	old := r.commit("", map[string]string{
		"same/a": "1", "same/deep/b": "2", "changed/c": "3", "changed/d": "4", "changed/same/e": "5", "renamed/deep/f": "6", "gone/g": "7",
	})
	now := r.commit("", map[string]string{
		"same/a": "1", "same/deep/b": "2", "changed/c": "other", "changed/d": "4", "changed/same/e": "5", "new-name/deep/f": "6", "more/h": "8", "more/i": "8",
	})
	list, opened := r.walk(now, &old.Tree)
	// /, changed and more; and of the old ones / and changed. What has another name is known by its tree.
	if diff := cmp.Diff(map[string]int{"filez": 2, "dirtree": 3}, count(list)); diff != "" || opened != 5 {
		t.Errorf("%d trees were opened; listed (-want +got)\n%s", opened, diff)
	}
	seen := map[ostree.ObjectName]bool{}
	for _, e := range list {
		if seen[e] {
			t.Errorf("%s is listed twice", e)
		}
		seen[e] = true
		if e.Type != ostree.ObjectDirTree {
			continue
		}
		_, dirs, err := r.repo.DirTree(e.Sum)
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range dirs {
			below := ostree.ObjectName{Type: ostree.ObjectDirTree, Sum: dir.Contents}
			if slices.Contains(list, below) && !seen[below] {
				t.Errorf("%s is listed before %s, which is in it", e, below)
			}
		}
	}
	if list[len(list)-1].Sum != now.Tree.Contents {
		t.Errorf("the last one is %s", list[len(list)-1])
	}

	if list, opened := r.walk(now, &now.Tree); len(list) > 0 || opened > 0 {
		t.Errorf("of what is the same, %d trees are opened, and %v is listed", opened, list)
	}
	all, opened := r.walk(now, nil)
	if diff := cmp.Diff(map[string]int{"filez": 7, "dirtree": 8, "dirmeta": 1}, count(all)); diff != "" || opened != 8 {
		t.Errorf("%d trees were opened; all (-want +got)\n%s", opened, diff)
	}
}

// A base of which only a part is here, as a repository has it that was pruned to a depth, or pulled from a server's in part, hides
// nothing that is the same where it is here.
func TestWalkBesideParts(t *testing.T) {
	r := newTrees(t)
	old := r.commit("", map[string]string{"a/same/x": "1", "a/y": "2", "b/same/z": "3", "b/w": "4"})
	now := r.commit("", map[string]string{"a/same/x": "1", "a/y": "new", "b/same/z": "3", "b/w": "new"})
	_, dirs, err := r.repo.DirTree(old.Tree.Contents)
	if err != nil || len(dirs) != 2 || dirs[0].Name != "a" {
		t.Fatalf("%v, %v", dirs, err)
	}
	file := func(sum ostree.Checksum) string {
		return filepath.Join(r.repo.Path(), ostree.ArchivePath(ostree.ObjectDirTree, sum))
	}
	if err := os.Remove(file(dirs[0].Contents)); err != nil {
		t.Fatal(err)
	}
	list, _ := r.walk(now, &old.Tree)
	// All of a, whose old tree is not here; of b what has changed; and the root.
	if diff := cmp.Diff(map[string]int{"filez": 2 + 1 - 1, "dirtree": 4}, count(list)); diff != "" {
		t.Errorf("listed (-want +got)\n%s", diff)
	}
	// One that is damaged is as good as none.
	if err := errors.Join(os.Remove(file(old.Tree.Contents)), os.WriteFile(file(old.Tree.Contents), []byte("x"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if list, _ := r.walk(now, &old.Tree); len(list) < 8 {
		t.Errorf("beside a damaged tree, %v is listed", list)
	}
}

// dirtree writes a dirtree of files and directories of these names, and returns its checksum. The ostree program takes minutes for
// as many as TestWalkCost has.
func (r trees) dirtree(files, dirs []string, sums map[string]ostree.Checksum, meta ostree.Checksum) ostree.Checksum {
	r.t.Helper()
	var fileEntries, dirEntries [][]byte
	for _, name := range files {
		sum := sums[name]
		fileEntries = append(fileEntries, tuple([]byte(name+"\x00"), sum[:]))
	}
	for _, name := range dirs {
		sum := sums[name]
		dirEntries = append(dirEntries, tuple([]byte(name+"\x00"), sum[:], meta[:]))
	}
	object := tuple(array(fileEntries), array(dirEntries))
	sum := ostree.Checksum(sha256.Sum256(object))
	r.write(ostree.ObjectDirTree, sum, object)
	return sum
}

func (r trees) write(kind ostree.ObjectType, sum ostree.Checksum, object []byte) {
	r.t.Helper()
	file := filepath.Join(r.repo.Path(), ostree.ArchivePath(kind, sum))
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, object, 0o644)); err != nil {
		r.t.Fatal(err)
	}
}

// commitTree writes a commit like another one, of another tree: its checksum stands before that of its dirmeta.
func (r trees) commitTree(like *ostree.Commit, tree ostree.Checksum) *ostree.Commit {
	r.t.Helper()
	object, err := r.repo.CommitObject(like.Checksum)
	if err != nil {
		r.t.Fatal(err)
	}
	object = bytes.Replace(object, like.Tree.Contents[:], tree[:], 1)
	sum := ostree.Checksum(sha256.Sum256(object))
	r.write(ostree.ObjectCommit, sum, object)
	commit, err := r.repo.LoadCommit(sum)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(commit.Close)
	return commit
}

// tuple and array are those of GVariant, of items of no fixed size that may stand anywhere.
func tuple(items ...[]byte) []byte {
	body, ends := joined(items)
	slices.Reverse(ends[:len(items)-1])
	return framed(body, ends[:len(items)-1])
}

func array(items [][]byte) []byte { return framed(joined(items)) }

func joined(items [][]byte) (body []byte, ends []int) {
	for _, item := range items {
		body = append(body, item...)
		ends = append(ends, len(body))
	}
	return body, ends
}

// framed appends where items end, in as few bytes each as tell that.
func framed(body []byte, ends []int) []byte {
	size := 1
	for len(body)+size*len(ends) >= 1<<(8*size) {
		size *= 2
	}
	for _, end := range ends {
		body = append(body, binary.LittleEndian.AppendUint64(nil, uint64(end))[:size]...)
	}
	return body
}

// One file of 100,000 has changed, in one of 10,000 directories: that opens and sends what has changed.
func TestWalkCost(t *testing.T) {
	const per = 100 // directories in a directory, twice; and 10 files in each of those
	r := newTrees(t)
	like := r.commit("", map[string]string{"file": "content"})
	names := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprintf("%02d", i))
		}
		return names
	}
	sums := func(n int, sum func(int) ostree.Checksum) map[string]ostree.Checksum {
		all := map[string]ostree.Checksum{}
		for i, name := range names(n) {
			all[name] = sum(i)
		}
		return all
	}
	dirs, files := names(per), names(10)
	tree := func(change func(top, dir, file int) byte) *ostree.Commit {
		return r.commitTree(like, r.dirtree(nil, dirs, sums(per, func(top int) ostree.Checksum {
			return r.dirtree(nil, dirs, sums(per, func(dir int) ostree.Checksum {
				return r.dirtree(files, nil, sums(10, func(file int) ostree.Checksum {
					return ostree.Checksum{byte(top), byte(dir), byte(file), change(top, dir, file)}
				}), like.Tree.Meta)
			}), like.Tree.Meta)
		}), like.Tree.Meta))
	}
	old := tree(func(int, int, int) byte { return 0 })
	now := tree(func(top, dir, file int) byte {
		if top == 42 && dir == 17 && file == 3 {
			return 1
		}
		return 0
	})
	if all, opened := r.walk(now, nil); opened != per*per+per+1 || count(all)["filez"] != 10*per*per {
		t.Fatalf("%d trees, of %v", opened, count(all))
	}

	var answers bytes.Buffer
	c := stream.New(stream.Receiver, &bytes.Buffer{}, &answers)
	var missing stream.Missing
	for range 4 { // the file, and three trees
		missing.Add(false)
	}
	unknown := ostree.Tree{Contents: ostree.Checksum{1}, Meta: ostree.Checksum{2}}
	err := errors.Join(c.Greet(), c.Send(stream.Hello{}), c.SendAll(stream.State{{Trees: []ostree.Tree{unknown, old.Tree}}}),
		c.SendAll(stream.Wanted{now.Checksum}), c.SendAll(missing), c.End(stream.Partial{}), c.End(stream.Ask{}))
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	src := &source{repo: r.repo, refs: ostree.Refs{"main": now.Checksum}, digests: digests{now.Checksum: now.PublishedDigest()}}
	s := &streamPush{src: src, sink: &listener{Sink: report.NewText(&said, "test", report.Debug)}}
	var sent sink
	if err := s.run(t.Context(), &sent, &answers, func() {}); err != nil {
		t.Error(err)
	}
	// The root and two directories below it, of the new commit and of the old one.
	if want := "Listing 4 objects, for which 6 trees were opened\n"; !strings.Contains(said.String(), want) {
		t.Errorf("it says %q, not %q", &said, want)
	}
	const most = 1024
	if sent.Len() > most {
		t.Errorf("%d bytes are sent", sent.Len())
	}
}

// TestCourse has a receiver take its time: with few refs, commits come before it has said what it has of those; with many, it is
// sent only what is not up to date.
func TestCourse(t *testing.T) {
	for name, test := range map[string]struct {
		refs  int
		early bool
	}{"few": {fewRefs, true}, "many": {fewRefs + 1, false}} {
		t.Run(name, func(t *testing.T) {
			r := newTrees(t)
			src := &source{repo: r.repo, refs: ostree.Refs{}, digests: digests{}}
			for i := range test.refs {
				commit := r.commit("", map[string]string{"file": fmt.Sprint(i)})
				src.refs[ostree.Ref(fmt.Sprintf("ref%02d", i))] = commit.Checksum
				src.digests[commit.Checksum] = commit.PublishedDigest()
			}
			text := report.NewText(io.Discard, "test", report.Debug)
			s := &streamPush{src: src, sink: &listener{Sink: text}}
			fromPusher, stdin := io.Pipe()
			stdout, toPusher := io.Pipe()
			done := make(chan error, 1)
			go func() {
				defer toPusher.Close()
				done <- receiveSlowly(stream.New(stream.Receiver, fromPusher, toPusher), test.early, test.refs)
			}()
			if err := s.run(t.Context(), stdin, stdout, func() {}); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			shows := ostree.Checksum{1}.String()
			var want []report.Ref
			for _, ref := range src.refs.Sorted()[:test.refs-1] {
				want = append(want, report.Ref{Ref: ref, Status: report.UpToDate, Old: shows, New: shows, Received: src.refs[ref].String()})
			}
			if diff := cmp.Diff(want, text.Refs()); diff != "" {
				t.Errorf("results (-want +got)\n%s", diff)
			}
		})
	}
}

// receiveSlowly is a receiver that has all of the refs but the last one.
func receiveSlowly(c *stream.Conn, early bool, refs int) error {
	if err := errors.Join(c.Greet(), c.Send(stream.Hello{})); err != nil {
		return err
	}
	var offer stream.Offer
	for {
		part, more, err := stream.Next[stream.Offer](c)
		if err != nil {
			return err
		}
		if offer = append(offer, part...); !more {
			break
		}
	}
	var commits []ostree.Checksum
	take := func() error {
		for {
			commit, more, err := stream.Next[stream.Commit](c)
			if err != nil || !more {
				return err
			}
			commits = append(commits, commit.Sum)
		}
	}
	want := refs
	if early {
		if err := take(); err != nil {
			return err
		}
	}
	state := make(stream.State, refs)
	for i := range refs - 1 {
		state[i] = stream.RefState{UpToDate: true, Shows: ostree.Checksum{1}}
	}
	if err := c.SendAll(state); err != nil {
		return err
	}
	if !early {
		want = 1
		if err := take(); err != nil {
			return err
		}
	}
	if len(commits) != want || commits[want-1] != offer[refs-1].Commit {
		return fmt.Errorf("%d commits have come, and not %d", len(commits), want)
	}
	return c.End(stream.Wanted{})
}
