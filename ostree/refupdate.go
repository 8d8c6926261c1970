package ostree

// #include "cgo.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// RefUpdate is a change of one local ref.
type RefUpdate struct {
	Ref Ref
	// Old is the commit that the ref has to show when it is changed, zero if
	// there has to be none.
	Old Checksum
	// New is the commit that it is to show then; zero deletes the ref.
	New Checksum
}

// RefChangedError is that a ref does not show what it should when it is to be changed:
// somebody else has changed it meanwhile.
type RefChangedError struct {
	Ref Ref
	Now Checksum // zero: it shows no commit
}

func (e *RefChangedError) Error() string {
	if e.Now.IsZero() {
		return fmt.Sprintf("ref %s is not there any more", e.Ref)
	}
	return fmt.Sprintf("ref %s shows commit %s now", e.Ref, e.Now)
}

// CheckRefUpdate returns an error if a ref could not be changed whoever tries: something stands in its place, or in
// that of one of its directories, that is not what it should be. A directory that is a link leads to where
// other refs are, or out of the repository.
func (r *Repo) CheckRefUpdate(ref Ref) error {
	heads := filepath.Join(r.path, headsDir)
	file := filepath.Join(heads, string(ref))
	info, err := os.Lstat(file)
	switch {
	case err == nil && info.IsDir():
		// libostree replaces one that has no refs in it.
	case err == nil && info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("ref %s is an alias", ref)
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("ref %s: its file is no regular file", ref)
	}
	for dir := filepath.Dir(file); dir != heads; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && info.IsDir():
		case err == nil:
			return fmt.Errorf("ref %s: %s is no directory", ref, r.below(dir))
		case !errors.Is(err, unix.ENOTDIR):
			return fmt.Errorf("ref %s: %w", ref, err)
		}
	}
	return nil
}

// below returns the part of a path that is below the repository.
func (r *Repo) below(path string) string {
	rel, err := filepath.Rel(r.path, path)
	if err != nil {
		return path
	}
	return rel
}

// UpdateRefs changes refs, one by one, and calls done for each one right after: nil
// if it was changed, a *RefChangedError if it did not show what it should, and then the others are
// changed all the same. Any other error ends it. libostree has no way to compare and set in one step:
// a change by somebody else in the microseconds between the two is lost.
//
// The summary is left alone, also where core.auto-update-summary is set.
func (r *Repo) UpdateRefs(ctx context.Context, updates []RefUpdate, done func(RefUpdate, error)) (err error) {
	// In a transaction libostree leaves the summary to its end, which does nothing about refs that
	// were set at once.
	t, err := r.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close(context.WithoutCancel(ctx))) }()
	for _, u := range updates {
		err := r.updateRef(ctx, u)
		changed := (*RefChangedError)(nil)
		if err == nil || errors.As(err, &changed) {
			done(u, err)
			continue
		}
		// It may have failed after the ref has moved.
		if r.shows(u.Ref, u.New) {
			done(u, nil)
		} else {
			done(u, err)
		}
		return err
	}
	return nil
}

func (r *Repo) updateRef(ctx context.Context, u RefUpdate) error {
	now, err := readRef(filepath.Join(r.path, headsDir), u.Ref)
	if err != nil {
		now.sum = Checksum{} // it is to be replaced
	}
	if now.sum != u.Old || now.isAlias {
		return &RefChangedError{u.Ref, now.sum}
	}
	c, done := cancellable(ctx)
	defer done()
	cref, freeRef := cstring(string(u.Ref))
	defer freeRef()
	var csum *C.char
	if !u.New.IsZero() {
		sum, freeSum := cstring(u.New.String())
		defer freeSum()
		csum = sum
	}
	var gerr *C.GError
	if C.ostree_repo_set_ref_immediate(r.c, nil, cref, csum, c, &gerr) == 0 {
		return fmt.Errorf("ref %s: %w", u.Ref, gerror(gerr))
	}
	return nil
}

// shows reports whether a ref shows a commit, or is not there if that is zero.
func (r *Repo) shows(ref Ref, sum Checksum) bool {
	now, err := readRef(filepath.Join(r.path, headsDir), ref)
	if errors.Is(err, fs.ErrNotExist) {
		return sum.IsZero()
	}
	return err == nil && now.sum == sum
}
