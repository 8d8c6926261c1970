package main

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// remote makes a repository to push into. Who is done with it calls leave, and tells whether
// all went well.
//
// Many refs take longer to copy than to push, so a repository that has them is used again, as it was.
func (b *bench) remote(ctx context.Context, p push) (to string, leave func(well bool) error, err error) {
	again := p.oursOnly && p.base != "" && !b.opts.memory
	if to, ok := b.remotes[p.base]; again && ok {
		return to, b.leaveForNext(p.base, to), nil
	}
	dir, err := os.MkdirTemp(b.work, "remote-")
	if err != nil {
		return "", nil, err
	}
	to = filepath.Join(dir, "repo")
	if err := b.makeRemote(ctx, p, to); err != nil {
		return "", nil, err
	}
	if !again {
		return to, func(bool) error { empty(dir); return nil }, nil
	}
	b.remotes[p.base] = to
	return to, b.leaveForNext(p.base, to), nil
}

func (b *bench) makeRemote(ctx context.Context, p push, to string) error {
	switch {
	case p.from == "":
		return nil
	case p.base == "":
		return ostree(ctx, to, "init", "--mode=archive")
	case p.oursOnly:
		return linkRepo(ctx, b.sets[p.base].repo, to)
	}
	return copyRepo(ctx, b.sets[p.base].repo, to)
}

// leaveForNext makes a repository what it was. What a failure leaves there is not all known, and so it is not used again.
func (b *bench) leaveForNext(base, to string) func(bool) error {
	return func(well bool) error {
		if !well {
			delete(b.remotes, base)
			return nil
		}
		return b.sets[base].restore(to)
	}
}

// restore makes a copy, into which was pushed, what the data set is: objects that came are removed, and its refs show what they
// did.
func (set dataset) restore(to string) error {
	objects, err := listObjects(to)
	if err != nil {
		return err
	}
	for name := range objects {
		if _, ok := set.objects[name]; !ok {
			if err := os.Remove(filepath.Join(to, "objects", name)); err != nil {
				return err
			}
		}
	}
	heads := filepath.Join("refs", "heads")
	return filepath.WalkDir(filepath.Join(set.repo, heads), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return restoreFile(path, to+strings.TrimPrefix(path, set.repo))
	})
}

// restoreFile makes a file say what the original does.
func restoreFile(original, file string) error {
	want, err := os.ReadFile(original)
	if err != nil {
		return err
	}
	if got, err := os.ReadFile(file); err != nil || bytes.Equal(got, want) {
		return err
	}
	return os.WriteFile(file, want, 0o644)
}
