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
	// Old is the commit that the ref has to have before the change. The zero Checksum is for
	// a ref that is not there, or has no commit that can be read.
	Old Checksum
	// New is the commit of the ref after the change. The zero Checksum deletes the ref.
	New Checksum
}

// RefChangedError is the error of UpdateRefs for a ref that does not have the commit RefUpdate.Old, or
// is an alias: somebody else has changed it.
type RefChangedError struct {
	Ref Ref
	Now Checksum // the commit of the ref; zero if it has none
}

// Error names the ref, and the commit that it has.
func (e *RefChangedError) Error() string {
	if e.Now.IsZero() {
		return fmt.Sprintf("ref %s is not there any more", e.Ref)
	}
	return fmt.Sprintf("ref %s shows commit %s now", e.Ref, e.Now)
}

// CheckRefUpdate returns an error that names the ref if nobody could set it. In its place there may be nothing, a
// regular file, or a directory (libostree replaces one without refs), and in the places of its directories nothing
// or directories. A link is none of these: it leads to another ref, or out of the repository. Who may write
// there is not looked at.
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

// UpdateRefs changes refs, one by one, in a transaction of its own, and calls done right after each,
// with nil if the ref was changed. If the ref does not have the commit that the update says, done is called with
// a *RefChangedError, and the other refs are changed all the same. Any other error ends UpdateRefs, which
// returns it; done is called with it, too, or with nil if the ref has the new commit nevertheless.
//
// libostree cannot compare and set in one step: a change by somebody else in the microseconds in between
// is lost. The summary is left alone, also where core.auto-update-summary is set.
func (r *Repo) UpdateRefs(ctx context.Context, updates []RefUpdate, done func(RefUpdate, error)) (err error) {
	// In a transaction libostree leaves the summary to the end of the transaction, and refs that
	// were set at once do not count there.
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

// shows reports whether a ref has a commit; of the zero Checksum, whether the ref is not there.
func (r *Repo) shows(ref Ref, sum Checksum) bool {
	now, err := readRef(filepath.Join(r.path, headsDir), ref)
	if errors.Is(err, fs.ErrNotExist) {
		return sum.IsZero()
	}
	return err == nil && now.sum == sum
}
