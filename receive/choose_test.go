package receive

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ostree-push/internal/otrepo"
	"ostree-push/ostree"
	"ostree-push/receive/config"
	"ostree-push/receive/sign"
	"ostree-push/stream"
)

// choosing is a receiver into a repository, and a commit that is offered to it.
type choosing struct {
	t      *testing.T
	r      *receiver
	path   string
	tree   string // directory
	commit *ostree.Commit
}

func newChoosing(t *testing.T) *choosing {
	t.Helper()
	if _, err := exec.LookPath("ostree"); err != nil {
		t.Skip(err)
	}
	c := &choosing{t: t, path: filepath.Join(t.TempDir(), "target"), tree: t.TempDir()}
	if err := otrepo.Init(c.path, "archive"); err != nil {
		t.Fatal(err)
	}
	target, err := ostree.Open(c.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(target.Close)
	policy, err := Limits{Config: os.DevNull}.load()
	if err != nil {
		t.Fatal(err)
	}
	conf := policy.Global()
	keys, err := sign.Open(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	c.r = &receiver{session: &session{config: conf}, sink: discard(), target: target, keys: keys}
	c.commit = c.write("offered", "content", "--no-bindings")
	return c
}

// write commits one file with that content on a ref.
func (c *choosing) write(ref, content string, args ...string) *ostree.Commit {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.tree, "file"), []byte(content), 0o644); err != nil {
		c.t.Fatal(err)
	}
	runOSTreeIn(c.t, slices.Concat([]string{"commit", "--repo=" + c.path, "--branch=" + ref, "--tree=dir=" + c.tree, "--timestamp=@1700000000", "--fsync=false"}, args)...)
	refs, err := c.r.target.Refs(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return c.load(refs[ostree.Ref(ref)])
}

func (c *choosing) load(sum ostree.Checksum) *ostree.Commit {
	c.t.Helper()
	commit, err := c.r.target.LoadCommit(sum)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(commit.Close)
	return commit
}

// verifies has the receiver verify signatures, with a key that nobody has.
func (c *choosing) verifies() {
	c.t.Helper()
	conf := &config.Config{SignVerify: true, SignTrustedKeyfile: filepath.Join(c.t.TempDir(), "keys"), SignType: "ed25519"}
	err := os.WriteFile(conf.SignTrustedKeyfile, []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n"), 0o644)
	if err == nil {
		c.r.keys, err = sign.Open(conf)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(c.r.keys.Close)
}

// choose has the commit, or another one, offered for a ref, and returns what is chosen.
func (c *choosing) choose(ref ostree.Ref, offered *ostree.Commit, digests map[ostree.Ref]ostree.Digest) *choice {
	c.t.Helper()
	chosen, err := c.r.choose(c.t.Context(), ostree.Refs{ref: offered.Checksum}, digests, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return chosen
}

// What is up to date by its digest is what judging would call so, and of what is whole.
func TestUpToDateByDigest(t *testing.T) {
	for _, test := range []struct {
		name string
		ref  ostree.Ref
		// prepare makes what the target has of the ref; nil: the commit, bound.
		prepare func(c *choosing)
		want    bool
	}{
		{"written anew", "main", nil, true},
		{"on a child", "main", func(c *choosing) { c.write("main", "older"); c.write("main", "content", "--bind-ref=other") }, true},
		{"not there", "none", nil, false},
		{"other content", "main", func(c *choosing) { c.write("main", "other") }, false},
		{"another time", "main", func(c *choosing) { c.write("main", "content", "--timestamp=@1700000001") }, false},
		{"other metadata", "main", func(c *choosing) { c.write("main", "content", "--add-metadata-string=ostree.endoflife=gone") }, false},
		{"forced", "main", func(c *choosing) { c.write("main", "content"); c.r.config.Force = true }, false},
		{"an alias", "alias", func(c *choosing) {
			c.write("main", "content")
			runOSTreeIn(t, "refs", "--repo="+c.path, "--create=alias", "--alias", "main")
		}, false},
		// As `ostree fsck --delete` marks one, or a pull that was interrupted.
		{"partial", "main", func(c *choosing) {
			sum := c.write("main", "content").Checksum.String()
			if err := os.WriteFile(filepath.Join(c.path, "state", sum+".commitpartial"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}, false},
		// As a power failure leaves one.
		{"an empty ref", "main", func(c *choosing) {
			if err := os.WriteFile(filepath.Join(c.path, "refs/heads/main"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"a commit that is gone", "main", func(c *choosing) {
			sum := c.write("main", "content").Checksum
			if err := os.Remove(filepath.Join(c.path, ostree.ArchivePath(ostree.ObjectCommit, sum))); err != nil {
				t.Fatal(err)
			}
		}, false},
		// The signature is that of the commit that is offered, which has to come for that.
		{"with signatures to verify", "main", func(c *choosing) {
			c.write("main", "content")
			c.verifies()
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newChoosing(t)
			if test.prepare == nil {
				test.prepare = func(c *choosing) { c.write("main", "content") }
			}
			test.prepare(c)
			digests := map[ostree.Ref]ostree.Digest{test.ref: c.commit.PublishedDigest()}
			chosen := c.choose(test.ref, c.commit, digests)
			if is := len(chosen.current) == 1 && len(chosen.wanted) == 0; is != test.want {
				t.Errorf("up to date: %v, %+v", is, chosen)
			}
			if test.want && (chosen.current[0].received != c.commit.Checksum || chosen.current[0].shows == c.commit.Checksum) {
				t.Errorf("%+v", chosen.current[0])
			}
			if _, wanted := chosen.wanted[test.ref]; wanted == test.want {
				t.Errorf("wanted: %v", wanted)
			}
			// A source that tells of no digests has its commits judged.
			if chosen := c.choose(test.ref, c.commit, nil); len(chosen.current) > 0 {
				t.Errorf("without digests, %+v", chosen)
			}
		})
	}
}

// trees are those of commits.
func trees(commits ...*ostree.Commit) (all []ostree.Tree) {
	for _, commit := range commits {
		all = append(all, commit.Tree)
	}
	return all
}

// A source is told of the trees of the commit that a ref shows, and of its ancestors, the nearest first, as far as they can be of use.
func TestTrees(t *testing.T) {
	c := newChoosing(t)
	var history []*ostree.Commit
	for i := range nearest + 3 {
		history = append(history, c.write("main", strconv.Itoa(i)))
	}
	slices.Reverse(history)
	told := func(ref ostree.Ref) []ostree.Tree { return c.r.trees(c.choose(ref, c.commit, nil))(ref) }
	if diff := cmp.Diff(trees(history[:nearest+1]...), told("main")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// One is partial, and what is before another has been pruned.
	partial := filepath.Join(c.path, "state", history[0].Checksum.String()+".commitpartial")
	if err := os.WriteFile(partial, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(c.path, ostree.ArchivePath(ostree.ObjectCommit, history[4].Checksum))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(trees(history[1:4]...), told("main")); diff != "" {
		t.Errorf("of a part (-want +got)\n%s", diff)
	}
	runOSTreeIn(t, "refs", "--repo="+c.path, "--create=alias", "--alias", "main")
	for _, ref := range []ostree.Ref{"none", "alias"} {
		if trees := told(ref); len(trees) > 0 {
			t.Errorf("of %s: %v", ref, trees)
		}
	}
}

// However many refs are offered, no more than some ancestors are read.
func TestTreesBounded(t *testing.T) {
	c := newChoosing(t)
	first := c.write("main", "first")
	now := c.write("main", "now")
	offered := ostree.Refs{}
	for i := range ancestorsMost + 2 {
		ref := ostree.Ref(fmt.Sprintf("refs/%04d", i))
		offered[ref] = c.commit.Checksum
		file := filepath.Join(c.path, "refs/heads", string(ref))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(now.Checksum.String()), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	chosen, err := c.r.choose(t.Context(), offered, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	told := c.r.trees(chosen)
	n := map[int]int{}
	for _, ref := range offered.Sorted() {
		n[len(told(ref))]++
	}
	if diff := cmp.Diff(map[int]int{2: ancestorsMost, 1: 2}, n); diff != "" {
		t.Errorf("of %v and %v (-want +got)\n%s", now.Tree, first.Tree, diff)
	}
}

// A receive of one ref, where the metadata is not to be updated, does not look at the others: as many as there are, they cost nothing.
func TestLooksAtNoOtherRefs(t *testing.T) {
	c := newChoosing(t)
	c.write("pushed/main", "older")
	c.write("others/main", "other")
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, filepath.Join(c.path, "refs/heads/others"), unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	now := c.write("offered", "new", "--timestamp=@1700000001")
	looked := func() bool {
		var events [4096]byte
		n, err := unix.Read(watch, events[:])
		if err != nil && err != unix.EAGAIN {
			t.Fatal(err)
		}
		return n > 0
	}
	looked() // writing it has

	var sent bytes.Buffer
	p := stream.New(stream.Pusher, strings.NewReader(""), &sent)
	object, err := c.r.target.CommitObject(now.Checksum)
	err = errors.Join(err, p.SendAll(stream.Offer{{Ref: "pushed/main", Commit: now.Checksum, Digest: now.PublishedDigest()}}),
		p.Queue(stream.Commit{Sum: now.Checksum, Object: object}), p.End(stream.Commit{}), p.End(stream.List{}), p.End(stream.Data{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, update := range []bool{false, true} {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		input := filepath.Join(t.TempDir(), "input")
		conf := filepath.Join(t.TempDir(), "config.toml")
		err = errors.Join(os.WriteFile(input, sent.Bytes(), 0o600), os.WriteFile(conf, fmt.Appendf(nil, "update = %v\n", update), 0o600))
		if err != nil {
			t.Fatal(err)
		}
		stdin, err := os.Open(input)
		if err != nil {
			t.Fatal(err)
		}
		defer stdin.Close()
		err = (&commandLine{Repo: c.path, URL: stream.URL}).run(t.Context(), process{Limits{Config: conf}, "test", stdin, null, null})
		if err != nil {
			t.Fatal(err)
		}
		if looked() != update {
			t.Errorf("with update = %v, it has looked at other refs: %v", update, !update)
		}
	}
	refs, err := c.r.target.Refs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if shows := c.load(refs["pushed/main"]); shows.Tree != now.Tree {
		t.Errorf("pushed/main shows %+v", shows)
	}
}
