package ostree

// #include "repometadata.h"
import "C"

import (
	"context"
)

// MetadataRef is the ref of the generated repository metadata of repositories
// with a collection id.
const MetadataRef Ref = "ostree-metadata"

// RegenerateMetadata writes the summary file anew and, in a repository with a
// collection id, a commit on MetadataRef, as `ostree summary --update` does, and
// signs both. There must be no open transaction.
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
