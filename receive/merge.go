package receive

import (
	"context"
	"fmt"
	"strings"

	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
	"ostree-push/receive/sign"
	"ostree-push/report"
)

// merge writes the received commit anew on its ref: bound to this ref and this
// repository's collection, with the ref's current commit as its parent, and
// signed with this repository's keys.
func (r *receiver) merge(ctx context.Context, tx *ostree.Transaction, q *quarantine.Quarantine, v *verdict) error {
	if !v.merged.IsZero() {
		return nil // it is taken as it is
	}
	received := v.commit.Checksum
	// What it consists of may not be in the target before the transaction is committed.
	src, err := q.Repo.LoadCommit(received)
	if err != nil {
		return fmt.Errorf("ref %s: load commit %s: %w", v.ref, received, err)
	}
	defer src.Close()
	merged, err := tx.WriteCommitLike(ctx, q.Repo, src, v.parent, r.bindings(v.ref, received))
	if err != nil {
		return fmt.Errorf("ref %s: write commit: %w", v.ref, err)
	}
	if err := r.keys.SignCommit(ctx, r.target, merged); err != nil {
		return fmt.Errorf("ref %s: %w", v.ref, err)
	}
	v.merged = merged
	return nil
}

// warnOfLostSignatures says that the signatures of commits that have been received are not on those that are
// published in their place. (One that was written anew as just the same keeps them.)
func (r *receiver) warnOfLostSignatures(ctx context.Context, moved []*verdict) {
	if r.keys.Signs() {
		return
	}
	var lost []*verdict
	for _, v := range moved {
		if v.merged == v.commit.Checksum {
			continue
		}
		n, err := sign.CountSignatures(ctx, r.target, v.commit.Checksum)
		if err != nil {
			r.sink.Log(report.Warning, fmt.Sprintf("ref %s: the signatures of commit %s cannot be read: %v", v.ref, v.commit.Checksum, err))
		}
		if n > 0 {
			lost = append(lost, v)
		}
	}
	if len(lost) == 0 {
		return
	}
	text := fmt.Sprintf("ref %s: the signatures of commit %s are not on the commit that is published, which this server does not sign",
		lost[0].ref, lost[0].commit.Checksum)
	if n := len(lost) - 1; n > 0 {
		text += fmt.Sprintf("; so it is with %d more", n)
	}
	r.sink.Log(report.Warning, text)
}

// bindings is what the metadata of a merged commit says of where it belongs,
// as flatpak build-commit-from has it.
func (r *receiver) bindings(ref ostree.Ref, received ostree.Checksum) ostree.MetadataEdit {
	edit := ostree.MetadataEdit{
		Strings:     map[string]string{},
		StringLists: map[string][]string{ostree.MetaRefBinding: {string(ref)}},
	}
	if id := r.target.CollectionID(); id != "" {
		edit.Strings[ostree.MetaCollectionBinding] = id
	} else {
		edit.Remove = append(edit.Remove, ostree.MetaCollectionBinding)
	}
	if isFlatpak(ref) {
		edit.Strings[ostree.MetaFlatpakRef] = string(ref)
		edit.Strings[ostree.MetaFlatpakFrom] = received.String()
	}
	return edit
}

func isFlatpak(ref ostree.Ref) bool {
	return strings.HasPrefix(string(ref), "app/") || strings.HasPrefix(string(ref), "runtime/")
}
