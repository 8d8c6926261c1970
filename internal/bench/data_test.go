package main

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// The usage and the documents tell round numbers.
func TestTrees(t *testing.T) {
	for name, want := range map[string]int{"many": 15_000, "big": 3_000, "memory": 1_000_000} {
		tree := trees(false)[name]
		dirs := 1 + 10*(1+tree.middle*(1+tree.leaf))
		const dirmetaAndCommit = 2
		if got := tree.files + dirs + dirmetaAndCommit; got != want {
			t.Errorf("%s has %d objects, not %d", name, got, want)
		}
	}
}

// What a push has to bring is known from the repositories.
func TestLoads(t *testing.T) {
	if _, err := exec.LookPath("ostree"); err != nil {
		t.Skip(err)
	}
	opts, err := parse([]string{"-small", "-cases", "many,big,update,none,dry,object,resume", "-data", filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{opts: opts}
	sets, err := b.prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	res := newResults()
	if err := res.use(sets); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]load{
		"many":   {Objects: 160, Commits: 1},
		"big":    {Objects: 30, Commits: 1},
		"none":   {},
		"dry":    {Objects: 160, Commits: 1},
		"update": {Objects: 5, Commits: 1}, // 2 files, 2 directories, and the commit
		"object": {Objects: 5, Commits: 1}, // the file, 3 of directories, and the commit
		"resume": {Objects: 5, Commits: 1},
	} {
		got := res.Loads[name]
		if (got.Bytes > 0) != (want.Objects > 0) {
			t.Errorf("%s: %d bytes", name, got.Bytes)
		}
		got.Bytes = 0
		if got != want {
			t.Errorf("%s: %+v, not %+v", name, got, want)
		}
	}
	if got := res.Loads["update"].Bytes; got < 2*1000 || got > 2*10140+5*5000 {
		t.Errorf("update: %d bytes", got)
	}
	if got := res.Loads["object"].Bytes; got < 2e6 || got > 2.01e6 {
		t.Errorf("object: %d bytes", got)
	}

	// They are the same ones the next time.
	again, err := b.repository(t.Context(), "many")
	if err != nil {
		t.Fatal(err)
	}
	if again != sets["many"].repo {
		t.Errorf("%s is %s", sets["many"].repo, again)
	}
}
