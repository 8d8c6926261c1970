package ostree

// #include "glue.h"
import "C"

import (
	"context"
)

// Transaction is an open transaction of a repository: objects written in it
// are staged, and become part of the repository, and its refs move, when it is
// committed. In a repository with core.fsync=false objects are not staged, but
// part of it at once. A repository has one transaction at a time. It holds
// libostree's shared lock.
type Transaction struct {
	repo *Repo
	open bool

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
	return &Transaction{repo: r, open: true, Resumed: resumed != 0}, nil
}

// Import takes an object over from another repository, which is trusted to have what the
// checksum says: it is linked if the modes are the same, else written in the form
// of this one. A commit brings its detached metadata. Any number of goroutines may
// import at once.
func (t *Transaction) Import(ctx context.Context, from *Repo, kind ObjectType, sum Checksum) error {
	c, done := cancellable(ctx)
	defer done()
	csum, free := cstring(sum.String())
	defer free()
	var gerr *C.GError
	if C.ostree_repo_import_object_from_with_trust(t.repo.c, from.c, C.OstreeObjectType(kind), csum, 1, c, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// MarkComplete takes the mark off a commit which says that it is partial.
func (t *Transaction) MarkComplete(sum Checksum) error {
	csum, free := cstring(sum.String())
	defer free()
	var gerr *C.GError
	if C.ostree_repo_mark_commit_partial(t.repo.c, csum, 0, &gerr) == 0 {
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
	return ParseChecksum(takeString(sum))
}

// SetRef makes ref point to sum when the transaction is committed.
func (t *Transaction) SetRef(ref Ref, sum Checksum) {
	cref, freeRef := cstring(string(ref))
	defer freeRef()
	csum, freeSum := cstring(sum.String())
	defer freeSum()
	C.ostree_repo_transaction_set_ref(t.repo.c, nil, cref, csum)
}

// Commit makes everything of the transaction part of the repository. When it
// fails, the transaction is still open.
func (t *Transaction) Commit(ctx context.Context) error {
	c, done := cancellable(ctx)
	defer done()
	var gerr *C.GError
	if C.ostree_repo_commit_transaction(t.repo.c, nil, c, &gerr) == 0 {
		return gerror(gerr)
	}
	t.open = false
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
