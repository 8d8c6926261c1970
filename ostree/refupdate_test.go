package ostree_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ostree-push/ostree"
)

// Refs change one by one, if they show what they should; what cannot be changed is known before.
func TestUpdateRefs(t *testing.T) {
	path, refs := twoRefs(t, "")
	repo := open(t, path)
	main := refs["main"]
	other := commit(t, path, newCommit{ref: "other", dir: t.TempDir()})
	program(t, "--repo="+path, "refs", "--create=alias", "--alias", "main")
	write(t, filepath.Join(path, "refs/heads/empty"), "")
	program(t, "--repo="+path, "config", "set", "core.auto-update-summary", "true")

	results := map[ostree.Ref]error{}
	err := repo.UpdateRefs(t.Context(), []ostree.RefUpdate{
		{Ref: "main", Old: main, New: other},
		{Ref: "changed", Old: main, New: other},
		{Ref: "other", Old: main, New: other},
		{Ref: "a/b/new", New: main},
		{Ref: "empty", New: main},
		{Ref: "alias", Old: other, New: main},
	}, func(u ostree.RefUpdate, err error) { results[u.Ref] = err })
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []ostree.Ref{"main", "a/b/new", "empty"} {
		if err := results[ref]; err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for ref, now := range map[ostree.Ref]ostree.Checksum{"changed": {}, "other": other, "alias": other} {
		var changed *ostree.RefChangedError
		if !errors.As(results[ref], &changed) || changed.Now != now {
			t.Errorf("%s: %v", ref, results[ref])
		}
	}
	want := ostree.Refs{"main": other, "other": other, "alias": other, "a/b/new": main, "a/b/other": refs["a/b/other"], "empty": main}
	if diff := cmp.Diff(want, refsOf(t, path)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, err := os.Lstat(filepath.Join(path, "summary")); err == nil {
		t.Error("the summary has been written")
	}

	if err := repo.CheckRefUpdate("main/below"); err == nil {
		t.Error("a ref below a ref")
	}
	if err := repo.CheckRefUpdate("alias"); err == nil {
		t.Error("an alias")
	}
	for _, ref := range []ostree.Ref{"main", "a/b/third", "x/y/z", "a"} {
		if err := repo.CheckRefUpdate(ref); err != nil {
			t.Error(err)
		}
	}

	// The first that cannot be changed ends it.
	var done []ostree.Ref
	err = repo.UpdateRefs(t.Context(), []ostree.RefUpdate{
		{Ref: "main", Old: other, New: main}, {Ref: "main/below", New: main}, {Ref: "later", New: main},
	}, func(u ostree.RefUpdate, err error) {
		if err == nil {
			done = append(done, u.Ref)
		}
	})
	if err == nil || len(done) != 1 || done[0] != "main" {
		t.Errorf("%v, %v", done, err)
	}
	move(t, repo, ostree.RefUpdate{Ref: "a/b/new", Old: main})
	if _, ok := refsOf(t, path)["a/b/new"]; ok {
		t.Error("a ref that was deleted is there")
	}
	program(t, "--repo="+path, "config", "set", "core.lock-timeout-secs", "0")
	program(t, "--repo="+path, "prune") // nobody holds a lock
}
