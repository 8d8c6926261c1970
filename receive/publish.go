package receive

import (
	"context"
	"fmt"
	"os/exec"

	"ostree-push/ostree"
	"ostree-push/report"
)

// publish makes the repository's metadata show its refs.
func (r *receiver) publish(ctx context.Context) error {
	if !r.update {
		return nil
	}
	refs, err := r.target.Refs(ctx)
	if err != nil {
		return fmt.Errorf("list refs: %w", err)
	}
	r.sink.Log(report.Debug, "Updating the repository's metadata")
	if hasFlatpak(refs) {
		return r.updateFlatpak(ctx)
	}
	return r.target.RegenerateMetadata(ctx)
}

func hasFlatpak(refs ostree.Refs) bool {
	for ref := range refs {
		if isFlatpak(ref) {
			return true
		}
	}
	return false
}

// updateFlatpak has flatpak write the summary and the appstream branches of a
// repository of its own.
func (r *receiver) updateFlatpak(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "flatpak", "build-update-repo", r.target.Path())
	cmd.Stdout, cmd.Stderr = r.output, r.output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("flatpak build-update-repo %s: %w", r.target.Path(), err)
	}
	return nil
}
