package ostree_test

import (
	"context"
	"errors"
	"testing"

	"ostree-push/ostree"
)

// What a commit consists of can be walked, and each object of it checked.
func TestWalk(t *testing.T) {
	ctx := context.Background()
	for _, mode := range []string{"archive", "bare-user"} {
		path := initRepo(t, mode)
		sum := commit(t, path, newCommit{ref: "main", dir: tree(t), args: []string{"--add-detached-metadata-string=key=value"}})
		repo := open(t, path)
		c := loadCommit(t, repo, sum)
		files, dirs, err := repo.DirTree(c.Tree.Contents)
		// file, empty, large and link; sub.
		if err != nil || len(files) != 4 || len(dirs) != 1 || dirs[0].Name != "sub" {
			t.Fatalf("%s: %d files, %d directories, %v", mode, len(files), len(dirs), err)
		}
		objects := map[ostree.Checksum]ostree.ObjectType{
			sum: ostree.ObjectCommit, c.Tree.Contents: ostree.ObjectDirTree, c.Tree.Meta: ostree.ObjectDirMeta,
			dirs[0].Contents: ostree.ObjectDirTree, dirs[0].Meta: ostree.ObjectDirMeta,
		}
		for _, file := range files {
			objects[file] = ostree.ObjectFile
		}
		for sum, kind := range objects {
			if has, err := repo.HasObject(ctx, kind, sum); !has || err != nil {
				t.Errorf("%s: object %s: %v, %v", mode, sum, has, err)
			}
			if err := repo.CheckObject(ctx, kind, sum); err != nil {
				t.Errorf("%s: object %s: %v", mode, sum, err)
			}
		}
		if has, err := repo.HasObject(ctx, ostree.ObjectFile, sum); has || err != nil {
			t.Errorf("%s: a commit is no file: %v, %v", mode, has, err)
		}

		detached, err := repo.DetachedMetadata(ctx, sum)
		if err != nil || len(detached) == 0 {
			t.Errorf("%s: %q, %v", mode, detached, err)
		}
		other := commit(t, path, newCommit{ref: "other", dir: tree(t), subject: "other"})
		if none, err := repo.DetachedMetadata(ctx, other); none != nil || err != nil {
			t.Errorf("%s: %q, %v", mode, none, err)
		}
		if err := repo.WriteDetachedMetadata(ctx, other, detached); err != nil {
			t.Error(err)
		}
		if got := program(t, "--repo="+path, "show", "--print-detached-metadata-key=key", "other"); got != "'value'\n" {
			t.Errorf("%s: %q", mode, got)
		}
	}
}

// A dirtree that is not one is an error, and not a crash.
func TestDirTreeCorrupt(t *testing.T) {
	path := initRepo(t, "archive")
	sum := commit(t, path, newCommit{ref: "main", dir: tree(t)})
	repo := open(t, path)
	root := loadCommit(t, repo, sum).Tree.Contents
	for _, content := range []string{"", "nonsense", "\xff\xff\xff\xff"} {
		write(t, objectPath(path, root, "dirtree"), content)
		if files, dirs, err := repo.DirTree(root); err == nil && len(files)+len(dirs) > 0 {
			t.Errorf("%q: %d files, %d directories", content, len(files), len(dirs))
		}
		if err := repo.CheckObject(context.Background(), ostree.ObjectDirTree, root); err == nil {
			t.Errorf("%q passes", content)
		}
	}
	if _, _, err := repo.DirTree(sum); !errors.Is(err, ostree.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
