package receive

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"ostree-push/cli"
	"ostree-push/ostree"
	"ostree-push/report"
)

// publish makes the repository's metadata show its refs, or has the hook do
// what is to be done. The refs have moved already, and its errors say so.
func (r *receiver) publish(ctx context.Context, moved []ostree.Ref) error {
	switch {
	case !r.config.Update:
		return nil
	case r.config.UpdateHook != nil:
		if err := r.runHook(ctx, moved); err != nil {
			return cli.Hint(fmt.Errorf("the refs are updated, but the update_hook failed: %w", err),
				"nothing needs to be pushed again: mend the hook and run it on the server")
		}
		return nil
	}
	if err := r.updateMetadata(ctx); err != nil {
		return cli.Hint(fmt.Errorf("the refs are updated, but not the repository's metadata: %w", err),
			"nothing needs to be pushed again: once it can work, update the metadata on the server (ostree summary --update, or flatpak build-update-repo)")
	}
	return nil
}

func (r *receiver) updateMetadata(ctx context.Context) error {
	refs, err := r.target.Refs(ctx)
	if err != nil {
		return fmt.Errorf("list refs: %w", err)
	}
	r.sink.Log(report.Debug, "Updating the repository's metadata")
	if hasFlatpak(refs) {
		if err := r.updateFlatpak(ctx); err != nil {
			return err
		}
		return r.signer.SignSummary(ctx, r.target)
	}
	return r.signer.RegenerateMetadata(ctx, r.target)
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
	args := []string{"build-update-repo"}
	for _, key := range r.config.GPGSign {
		args = append(args, "--gpg-sign="+key)
	}
	if r.config.GPGHomedir != "" {
		args = append(args, "--gpg-homedir="+r.config.GPGHomedir)
	}
	path, err := r.repo.forOthers()
	if err != nil {
		return err
	}
	return r.command(ctx, nil, "flatpak", append(args, path)...)
}

// runHook runs the update hook, with what has been received in its environment.
func (r *receiver) runHook(ctx context.Context, moved []ostree.Ref) error {
	var refs []string
	for _, ref := range moved {
		refs = append(refs, string(ref))
	}
	path, err := r.repo.forOthers()
	if err != nil {
		return err
	}
	hook := r.config.UpdateHook
	r.sink.Log(report.Info, fmt.Sprintf("Running the update hook %s", hook[0]))
	return r.command(ctx, []string{
		"OSTREE_RECEIVE_REPO=" + path,
		"OSTREE_RECEIVE_REFS=" + strings.Join(refs, " "),
	}, hook[0], hook[1:]...)
}

// command runs a program with additions to its environment.
func (r *receiver) command(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = r.output, r.output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return nil
}
