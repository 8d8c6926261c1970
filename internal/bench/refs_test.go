package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// smallBench returns a bench that makes small data sets.
func smallBench(t *testing.T) *bench {
	t.Helper()
	if _, err := exec.LookPath("ostree"); err != nil {
		t.Skip(err)
	}
	opts, err := parse([]string{"-small", "-data", t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{opts: opts, work: t.TempDir(), remotes: map[string]string{}}
}

func (b *bench) set(t *testing.T, name string) dataset {
	t.Helper()
	repo, err := b.repository(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	set, err := inspect(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// The refs are what libostree takes for them, each bound to itself, and of those that are newer just so much is.
func TestRefSets(t *testing.T) {
	b := smallBench(t)
	set := b.set(t, "refs")
	if set.refs != 200 {
		t.Errorf("%d refs", set.refs)
	}
	if out, err := exec.Command("ostree", "fsck", "--verify-bindings", "--repo="+set.repo).CombinedOutput(); err != nil {
		t.Errorf("fsck: %v: %s", err, out)
	}
	// The commit, the tree and a file are a ref's own, a further file with its directory that of every second one.
	// 9 files, 3 directories and a dirmeta are of all.
	if got, want := len(set.objects), 200*3+100*2+9+3+1; got != want {
		t.Errorf("%d objects, not %d", got, want)
	}
	for name, want := range map[string]load{
		"refs" + next: {Refs: 200, Objects: 3, Commits: 1},
		"refs-new":    {Refs: 200, Objects: 600, Commits: 200},
	} {
		got := loadOf(b.set(t, name), set)
		got.Bytes = 0
		if got != want {
			t.Errorf("%s: %+v, not %+v", name, got, want)
		}
	}
	if out, err := exec.Command("ostree", "ls", "-R", "--repo="+set.repo, refName(199), "/").CombinedOutput(); err != nil || strings.Count(string(out), "\n") != 4+10 {
		t.Errorf("the last ref: %v: %s", err, out)
	}
}

// A repository that is used again is what it was, and what it is a copy of has not changed with it.
func TestRestore(t *testing.T) {
	b := smallBench(t)
	set := b.set(t, "refs1")
	b.sets = map[string]dataset{"refs1": set}
	p := push{from: "refs1" + next, base: "refs1", oursOnly: true}
	to, leave, err := b.remote(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if err := commitNext(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if err := leave(true); err != nil {
		t.Fatal(err)
	}
	again, leave, err := b.remote(t.Context(), p)
	if err != nil || again != to {
		t.Errorf("%s the next time, and %s before: %v", again, to, err)
	}
	for _, repo := range []string{set.repo, to} {
		now, err := inspect(t.Context(), repo)
		if err != nil || now.content != set.content || !maps.Equal(now.objects, set.objects) {
			t.Errorf("%s is not what it was: %v", repo, err)
		}
	}
	if err := leave(false); err != nil {
		t.Fatal(err)
	}
	if other, _, err := b.remote(t.Context(), p); err != nil || other == to {
		t.Errorf("%s is used again after a failure: %v", other, err)
	}
}

// The directory of the data sets may be on another file system than that of the repositories.
func TestLinkElsewhere(t *testing.T) {
	elsewhere, err := os.MkdirTemp("/dev/shm", "bench-")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(elsewhere)
	set := smallBench(t).set(t, "refs1")
	for _, to := range []string{filepath.Join(t.TempDir(), "here"), filepath.Join(elsewhere, "there")} {
		if err := linkRepo(t.Context(), set.repo, to); err != nil {
			t.Error(err)
		}
		if got, err := inspect(t.Context(), to); err != nil || !maps.Equal(got.objects, set.objects) {
			t.Errorf("%s is no copy: %v", to, err)
		}
	}
}

// What other names have, too, keeps its content.
func TestEmpty(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere")
	for _, name := range []string{"alone", "linked"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("content"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "linked"), elsewhere); err != nil {
		t.Fatal(err)
	}
	empty(dir)
	for name, want := range map[string]string{"alone": "", "linked": "content"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// The names of refs are different ones, and in each of them the first one can be replaced.
func TestRefNames(t *testing.T) {
	names := map[string]bool{}
	for i := range 20_000 {
		name := refName(i)
		if len(name) != len(ref) {
			t.Fatalf("%s is not as long as %s", name, ref)
		}
		names[name] = true
	}
	if len(names) != 20_000 {
		t.Errorf("%d names", len(names))
	}
}

// The cases that only ours are in are measured with the program itself.
func TestMeasure(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin+"/ostree-push", "../..").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	for _, link := range []string{"ostree-receive", "ostree-receive-1"} {
		if err := os.Symlink("ostree-push", filepath.Join(bin, link)); err != nil {
			t.Fatal(err)
		}
	}
	cases := []string{"refs-changed", "refs-all", "resume"}
	opts, err := parse([]string{"-small", "-ours", bin, "-contenders", "ours", "-cases", strings.Join(cases, ","), "-rtt", "0", "-runs", "1"})
	if err != nil {
		t.Fatal(err)
	}
	smallBench(t)
	res := newResults()
	if err := measure(t.Context(), opts, res); err != nil {
		t.Fatal(err)
	}
	for _, name := range cases {
		r := res.find(key{Case: name}).Results[ours]
		if _, err := r.wire(); err != nil || r.Error != "" || len(r.Seconds) != 1 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	arrived := res.find(key{Case: "resume"}).Results[ours].Arrived
	if len(arrived) != 1 || slices.Min(arrived) < 1e6 {
		t.Errorf("before the interruptions, %v had arrived", arrived)
	}
	if got := res.Loads["refs-changed"].String(); got != "200 refs, 3 objects, 773 B" {
		t.Error(got)
	}
}
