package ostree

// #include "glue.h"
import "C"

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Transaction is an open transaction of a repository: objects written in it
// are staged, and become part of the repository, and its refs move, when it is
// committed. In a repository with core.fsync=false objects are not staged, but
// part of it at once. A repository has one transaction at a time. It holds
// libostree's shared lock.
//
// libostree moves the staged objects into the repository one by one, in no order. So that
// a commit is never there as a complete one before what it consists of, even if the process is
// killed in the middle, those of the transaction are marked as partial from when they are staged until all
// objects are there, and refs move after that. The marks of a transaction that
// failed stay, since another one may take over what it has staged.
type Transaction struct {
	repo *Repo
	open bool

	commits map[Checksum]struct{} // that are complete when it is committed
	refs    Refs

	// Resumed is that it has what one that was interrupted has staged, which
	// need not be complete.
	Resumed bool
}

// Begin opens a transaction. The caller ends it with Commit or Abort.
func (r *Repo) Begin(ctx context.Context) (*Transaction, error) {
	c, done := cancellable(ctx)
	defer done()
	var (
		resumed C.gboolean
		gerr    *C.GError
	)
	if C.ostree_repo_prepare_transaction(r.c, &resumed, c, &gerr) == 0 {
		return nil, gerror(gerr)
	}
	return &Transaction{repo: r, open: true, commits: map[Checksum]struct{}{}, refs: Refs{}, Resumed: resumed != 0}, nil
}

// Import takes an object over from another repository, which is trusted to have what the
// checksum says: it is linked if the modes are the same, else written in the form
// of this one. A commit brings its detached metadata. Any number of goroutines may
// import at once, but only one of them commits.
func (t *Transaction) Import(ctx context.Context, from *Repo, kind ObjectType, sum Checksum) error {
	c, done := cancellable(ctx)
	defer done()
	csum, free := cstring(sum.String())
	defer free()
	if kind == ObjectCommit {
		has, err := t.repo.HasObject(ctx, kind, sum)
		if err != nil {
			return err
		}
		if !has {
			if err := t.Completes(sum); err != nil {
				return err
			}
		}
	}
	var gerr *C.GError
	if C.ostree_repo_import_object_from_with_trust(t.repo.c, from.c, C.OstreeObjectType(kind), csum, 1, c, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// Completes says that the transaction has all that a commit consists of, and that
// the repository may lack: the commit is marked as partial until it is committed.
func (t *Transaction) Completes(sum Checksum) error {
	t.commits[sum] = struct{}{}
	return t.repo.markPartial(sum, true)
}

// HasCompleted reports whether that was said.
func (t *Transaction) HasCompleted(sum Checksum) bool {
	_, ok := t.commits[sum]
	return ok
}

// markPartial marks a commit as partial, or takes the mark off.
func (r *Repo) markPartial(sum Checksum, partial bool) error {
	csum, free := cstring(sum.String())
	defer free()
	var gerr *C.GError
	if C.ostree_repo_mark_commit_partial(r.c, csum, gboolean(partial), &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// WriteCommitLike writes a commit with tree, subject, body and timestamp of
// src, which is complete and in the repository, with the given parent (zero: none), and src's
// metadata with the edit applied. Detached metadata is not copied.
func (t *Transaction) WriteCommitLike(ctx context.Context, src *Commit, parent Checksum, edit MetadataEdit) (Checksum, error) {
	c, done := cancellable(ctx)
	defer done()
	source, freeSource := cstring(src.Checksum.String())
	defer freeSource()
	subject, freeSubject := cstring(src.Subject)
	defer freeSubject()
	body, freeBody := cstring(src.Body)
	defer freeBody()
	var cparent *C.char
	if !parent.IsZero() {
		p, freeParent := cstring(parent.String())
		defer freeParent()
		cparent = p
	}
	var gerr *C.GError
	sum := C.op_write_commit_like(t.repo.c, source, edit.apply(src), cparent, subject, body,
		C.guint64(src.Timestamp), c, &gerr)
	if sum == nil {
		return Checksum{}, gerror(gerr)
	}
	written, err := ParseChecksum(takeString(sum))
	if err != nil {
		return Checksum{}, err
	}
	return written, t.Completes(written)
}

// SetRef makes ref point to sum when the transaction is committed.
func (t *Transaction) SetRef(ref Ref, sum Checksum) { t.refs[ref] = sum }

// Commit makes everything of the transaction part of the repository, and then moves the
// refs, one by one. When it fails before that, the transaction is still open.
func (t *Transaction) Commit(ctx context.Context) (err error) {
	// Nobody may prune what no ref points to yet.
	unlock, err := t.repo.LockShared(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := t.moveObjects(ctx); err != nil {
		return err
	}
	for sum := range t.commits {
		if err := t.repo.markPartial(sum, false); err != nil {
			return err
		}
	}
	return t.repo.moveRefs(ctx, t.refs)
}

// moveObjects moves what is staged into the repository. Unless it is one with
// core.fsync=false, it is on the disk before that, and where it belongs after that.
//
// libostree would sync each directory of objects, touched or not, and wait for the disk 257
// times. To sync the file system does the same for all of them at once, as libostree
// itself has it for the objects.
func (t *Transaction) moveObjects(ctx context.Context) error {
	c, done := cancellable(ctx)
	defer done()
	syncs := C.ostree_repo_get_disable_fsync(t.repo.c) == 0
	if syncs {
		if err := t.repo.syncfs(); err != nil {
			return err
		}
		C.ostree_repo_set_disable_fsync(t.repo.c, 1)
		defer C.ostree_repo_set_disable_fsync(t.repo.c, 0)
	}
	var gerr *C.GError
	if C.ostree_repo_commit_transaction(t.repo.c, nil, c, &gerr) == 0 {
		return gerror(gerr)
	}
	t.open = false
	if syncs {
		return t.repo.syncfs()
	}
	return nil
}

// syncfs writes all that the file system of the repository has not written yet.
func (r *Repo) syncfs() error {
	return os.NewSyscallError("syncfs", unix.Syncfs(int(C.ostree_repo_get_dfd(r.c))))
}

// moveRefs moves refs. A repository that updates its summary by itself does so when a
// ref is moved outside of a transaction: only the last one is, so that it does it once.
func (r *Repo) moveRefs(ctx context.Context, refs Refs) error {
	sorted := refs.Sorted()
	if len(sorted) == 0 {
		return nil
	}
	last := len(sorted) - 1
	if err := r.moveRefsQuietly(ctx, refs, sorted[:last]); err != nil {
		return err
	}
	return r.moveRef(ctx, sorted[last], refs[sorted[last]])
}

// moveRefsQuietly moves refs in a transaction in which nothing is staged, and which is
// dropped: they stay where they are.
func (r *Repo) moveRefsQuietly(ctx context.Context, refs Refs, which []Ref) (err error) {
	if len(which) == 0 {
		return nil
	}
	t, err := r.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Abort()) }()
	for _, ref := range which {
		if err := r.moveRef(ctx, ref, refs[ref]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Repo) moveRef(ctx context.Context, ref Ref, sum Checksum) error {
	c, done := cancellable(ctx)
	defer done()
	cref, freeRef := cstring(string(ref))
	defer freeRef()
	csum, freeSum := cstring(sum.String())
	defer freeSum()
	var gerr *C.GError
	if C.ostree_repo_set_ref_immediate(r.c, nil, cref, csum, c, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// Abort drops the transaction. After Commit it does nothing.
func (t *Transaction) Abort() error {
	if !t.open {
		return nil
	}
	t.open = false
	var gerr *C.GError
	if C.ostree_repo_abort_transaction(t.repo.c, nil, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}
