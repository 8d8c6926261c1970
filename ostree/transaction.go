package ostree

// #include "transaction.h"
import "C"

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Transaction is an open transaction of a repository. Objects that are written in it are staged, and
// Commit makes them part of the repository; with core.fsync=false they are part of the repository at once. A
// repository has one transaction at a time. A transaction holds libostree's shared lock, and may begin with what
// an interrupted one has staged.
//
// libostree moves staged objects into the repository one by one, in no order. So that no commit looks complete
// before all of its objects are there, even if the process is killed in between, the commits of the transaction
// are marked as partial from when they are staged until the last object is there. Refs are moved after that,
// with UpdateRefs. The marks of a transaction that failed stay, since another one may take over what it has staged.
type Transaction struct {
	repo *Repo
	open bool

	commits map[Checksum]struct{} // to be complete after Commit
	resumed bool                  // began with what an interrupted one has staged
	taken   takings               // what Commit moves
}

// Begin opens a transaction, which waits for libostree's shared lock as LockShared does. The caller ends the
// transaction with Commit or Abort.
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
	r.staged.Store(resumed != 0)
	return &Transaction{repo: r, open: true, commits: map[Checksum]struct{}{}, resumed: resumed != 0}, nil
}

// ended notes that the transaction is not open any more.
func (t *Transaction) ended() {
	t.open = false
	t.repo.staged.Store(false)
}

// Import brings an object that is no commit from another repository, which is trusted to have the object that
// the checksum names. The object's file is linked if the modes of the repositories are the same, else written in the
// form of the transaction's. Any number of goroutines may import at once.
func (t *Transaction) Import(ctx context.Context, from *Repo, kind ObjectType, sum Checksum) error {
	c, done := cancellable(ctx)
	defer done()
	if err := t.repo.removeDamaged(kind, sum); err != nil {
		return err
	}
	csum, free := cstring(sum.String())
	defer free()
	t.repo.staged.Store(true)
	var gerr *C.GError
	if C.ostree_repo_import_object_from_with_trust(t.repo.c, from.c, C.OstreeObjectType(kind), csum, 1, c, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// ImportCommit brings a commit from another repository, after all objects that the commit consists of, or after those have been taken. Its detached
// metadata comes with it only if the transaction's repository does not have the commit: whoever pushes a commit that is
// published already may not replace what stands beside it, such as its signatures.
func (t *Transaction) ImportCommit(ctx context.Context, from *Repo, sum Checksum) error {
	has, err := t.repo.isStored(ObjectCommit, sum)
	if err != nil {
		return err
	}
	if whole, err := t.isWhole(sum); err != nil || whole {
		return err
	}
	if err := t.completes(sum); err != nil || has {
		return err
	}
	return t.Import(ctx, from, ObjectCommit, sum)
}

// isWhole reports whether the repository itself has a commit that is not marked as partial.
func (t *Transaction) isWhole(sum Checksum) (bool, error) {
	has, err := t.repo.isStored(ObjectCommit, sum)
	if err != nil || !has {
		return false, err
	}
	partial, err := t.repo.IsPartial(sum)
	return !partial, err
}

// completes notes that a commit will be complete after Commit, and marks it as partial until then.
func (t *Transaction) completes(sum Checksum) error {
	t.commits[sum] = struct{}{}
	return t.repo.markPartial(sum, true)
}

// WriteCommitLike writes a commit with the tree, subject, body and timestamp of src, which is complete and in
// the repository from, with src's metadata after an edit, and with another parent (zero for none). It returns the
// checksum of the commit written. Detached metadata is not copied. What the commit consists of is, after Commit, in the transaction's
// repository.
func (t *Transaction) WriteCommitLike(ctx context.Context, from *Repo, src *Commit, parent Checksum, edit MetadataEdit) (Checksum, error) {
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
	metadata := edit.apply(src)
	defer C.g_variant_unref(metadata)
	t.repo.staged.Store(true)
	var gerr *C.GError
	sum := C.op_write_commit_like(t.repo.c, from.c, source, metadata, cparent, subject, body,
		C.guint64(src.Timestamp), c, &gerr)
	if sum == nil {
		return Checksum{}, gerror(gerr)
	}
	written, err := ParseChecksum(takeString(sum))
	if err != nil {
		return Checksum{}, err
	}
	// The same may have been written some other time, and got there or not.
	whole, err := t.isWhole(written)
	if err != nil || whole {
		return written, err
	}
	return written, t.completes(written)
}

// Commit makes all that is staged part of the repository. The caller keeps the repository locked, with LockShared,
// until refs have moved, so that nobody prunes what no ref points to yet. After an error the transaction may still
// be open, and Abort ends it.
func (t *Transaction) Commit(ctx context.Context) error {
	if err := t.moveObjects(ctx); err != nil {
		return err
	}
	for sum := range t.commits {
		if err := t.repo.markPartial(sum, false); err != nil {
			return err
		}
	}
	return nil
}

// moveObjects moves what has been taken, and then what is staged, into the repository. Unless core.fsync is false there, the objects
// are on the disk before they are moved, and the moves are when it returns.
//
// libostree would sync each directory of objects, touched or not, and wait for the disk 257
// times. To sync the file system does the same for all of them at once, as libostree
// itself has it for the objects.
func (t *Transaction) moveObjects(ctx context.Context) error {
	sync := t.repo.syncfs
	if C.ostree_repo_get_disable_fsync(t.repo.c) != 0 {
		sync = func() error { return nil }
	}
	if err := sync(); err != nil {
		return err
	}
	imported, err := t.moveTaken(ctx)
	if err == nil && imported > 0 {
		err = sync()
	}
	if err == nil {
		err = t.moveStaged(ctx)
	}
	if err != nil {
		return err
	}
	return sync()
}

// moveStaged has libostree move what is staged, without syncing.
func (t *Transaction) moveStaged(ctx context.Context) error {
	c, done := cancellable(ctx)
	defer done()
	off := C.ostree_repo_get_disable_fsync(t.repo.c)
	C.ostree_repo_set_disable_fsync(t.repo.c, 1)
	defer C.ostree_repo_set_disable_fsync(t.repo.c, off)
	var gerr *C.GError
	if C.ostree_repo_commit_transaction(t.repo.c, nil, c, &gerr) == 0 {
		return gerror(gerr)
	}
	t.ended()
	return nil
}

// syncfs waits until all changes to the repository's file system are on the disk (syncfs(2)).
func (r *Repo) syncfs() error {
	return os.NewSyscallError("syncfs", unix.Syncfs(int(C.ostree_repo_get_dfd(r.c))))
}

// close ends a transaction in which nothing was staged. What it began with stays staged.
func (t *Transaction) close(ctx context.Context) error {
	if t.resumed || !t.open {
		return t.Abort()
	}
	// To commit removes the directory for what is staged, which Abort leaves.
	if err := t.moveStaged(ctx); err != nil {
		return errors.Join(err, t.Abort())
	}
	return nil
}

// Abort ends the transaction without making what is staged part of the repository. After a Commit without an error, or
// another Abort, it does nothing.
func (t *Transaction) Abort() error {
	if !t.open {
		return nil
	}
	t.ended()
	var gerr *C.GError
	if C.ostree_repo_abort_transaction(t.repo.c, nil, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}
