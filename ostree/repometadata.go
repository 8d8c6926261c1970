package ostree

// #include "repometadata.h"
import "C"

import (
	"context"
)

// MetadataRef is the ref on which a repository with a collection id has a commit of metadata about
// itself (OSTREE_REPO_METADATA_REF). RegenerateMetadata writes that.
const MetadataRef Ref = "ostree-metadata"

// RegenerateMetadata writes the summary file anew, as `ostree summary --update` does, and signs it with all keys of
// signers. In a repository with a collection id it also writes a commit on MetadataRef, and signs that. It
// is an error if a ref has no commit. There must be no open transaction.
func (r *Repo) RegenerateMetadata(ctx context.Context, signers Signers) error {
	c, done := cancellable(ctx)
	defer done()
	csigners, free := signers.c()
	defer free()
	var gerr *C.GError
	if C.op_regenerate_metadata(r.c, csigners, c, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}
