package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"ostree-push/cli"
	"ostree-push/ostree"
	"ostree-push/receive/config"
	"ostree-push/report"
)

// show makes the repository's metadata show its refs, or has the hook do what is to be done for those that
// have moved now, and for those that are pending from earlier. If refs have moved, its errors say so.
func (r *receiver) show(ctx context.Context, moved []ostree.Ref) error {
	defer r.warnOfUnreadable(moved)
	if !r.config.Update {
		return r.autoSummary(ctx, moved)
	}
	if r.config.UpdateHook == nil {
		if err := r.updateMetadata(ctx); err != nil {
			return cli.Hint(notUpdated("the repository's metadata", moved, err),
				"nothing needs to be pushed again: once it can work, the next push updates the metadata, or ostree-receive --update on the server")
		}
		return r.forget()
	}
	pending, err := r.stillPending(ctx)
	if err != nil {
		return err
	}
	if err := r.autoSummary(ctx, moved); err != nil {
		return err
	}
	if err := r.runHook(ctx, mergeRefs(moved, pending)); err != nil {
		return cli.Hint(hookFailed(moved, err),
			"nothing needs to be pushed again: mend the hook; it runs again with the next push, or with ostree-receive --update on the server")
	}
	return r.forget()
}

// notUpdated and hookFailed are errors of what follows when refs have moved, which they say if any have.
func notUpdated(what string, moved []ostree.Ref, err error) error {
	if len(moved) == 0 {
		return fmt.Errorf("%s could not be updated: %w", what, err)
	}
	return fmt.Errorf("the refs are updated, but not %s: %w", what, err)
}

func hookFailed(moved []ostree.Ref, err error) error {
	if len(moved) == 0 {
		return fmt.Errorf("the update_hook failed: %w", err)
	}
	return fmt.Errorf("the refs are updated, but the update_hook failed: %w", err)
}

// mergeRefs returns the refs that are in either list.
func mergeRefs(a, b []ostree.Ref) []ostree.Ref {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// updatesSummary reports whether a repository wants its summary updated with each change of a ref.
func updatesSummary(target *ostree.Repo) bool {
	return target.CoreOption("auto-update-summary") == "true" || target.CoreOption("commit-update-summary") == "true"
}

// autoSummary updates the metadata of a repository that wants that with each change of a ref,
// whatever the receiver is configured to do: libostree would have done it.
func (r *receiver) autoSummary(ctx context.Context, moved []ostree.Ref) error {
	if !updatesSummary(r.target) {
		return nil
	}
	r.sink.Progress(report.Progress{Phase: report.Updating})
	refs, bad, err := r.goodRefs(ctx)
	if err == nil {
		err = r.updateByLibostree(ctx, refs, bad)
	}
	if err != nil {
		return notUpdated("the summary (core.auto-update-summary of the repository)", moved, err)
	}
	return nil
}

func (r *receiver) updateMetadata(ctx context.Context) error {
	refs, bad, err := r.goodRefs(ctx)
	if err != nil {
		return err
	}
	r.sink.Log(report.Debug, "Updating the repository's metadata")
	r.sink.Progress(report.Progress{Phase: report.Updating})
	if !hasFlatpak(refs) {
		return r.updateByLibostree(ctx, refs, bad)
	}
	output := r.output
	if r.hides(refs) {
		// It has something to say of each app.
		output = io.Discard
	}
	if err := r.updateByFlatpak(ctx, output); err != nil {
		for ref, badErr := range bad {
			return cli.Hint(err, "flatpak takes no repository with a ref that shows no commit: push %s, or delete it (%v)", ref, badErr)
		}
		return err
	}
	return r.keys.SignFlatpakSummary(ctx, r.target)
}

// updateByLibostree updates the metadata of a repository without flatpak refs. Refs that show no commit are left out,
// where libostree's own way would fail.
func (r *receiver) updateByLibostree(ctx context.Context, refs ostree.Refs, bad map[ostree.Ref]error) error {
	if len(bad) == 0 {
		return r.keys.WriteMetadataSigned(ctx, r.target)
	}
	return r.keys.WriteSummarySigned(ctx, r.target, refs)
}

func hasFlatpak(refs ostree.Refs) bool {
	for ref := range refs {
		if isFlatpak(ref) {
			return true
		}
	}
	return false
}

// updateByFlatpak has flatpak write the summary and the appstream branches of a
// repository of its own.
func (r *receiver) updateByFlatpak(ctx context.Context, output io.Writer) error {
	path, err := r.repo.ForOthers()
	if err != nil {
		return err
	}
	return runProgram(ctx, output, nil, "flatpak", slices.Concat([]string{"build-update-repo"}, r.keys.FlatpakOptions(), []string{path})...)
}

// runHook runs the update hook, with what has been received in its environment.
func (r *receiver) runHook(ctx context.Context, moved []ostree.Ref) error {
	var refs []string
	for _, ref := range moved {
		refs = append(refs, string(ref))
	}
	path, err := r.repo.ForOthers()
	if err != nil {
		return err
	}
	locked, err := lockedAlso(r.target)
	if err != nil {
		return err
	}
	env := []string{
		"OSTREE_RECEIVE_REPO=" + path,
		"OSTREE_RECEIVE_REFS=" + strings.Join(refs, " "),
		locked,
	}
	if file := r.config.OnlyFile(); file != "" {
		env = append(env, config.OnlyEnv+"="+file)
	}
	hook := r.config.UpdateHook
	r.sink.Log(report.Info, fmt.Sprintf("Running the update hook %s", hook[0]))
	r.sink.Progress(report.Progress{Phase: report.Hook})
	return runProgram(ctx, r.output, env, hook[0], hook[1:]...)
}

// runProgram runs a program with additions to its environment. It is the administrator's, who is
// not restricted.
func runProgram(ctx context.Context, output io.Writer, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, RestrictedEnv+"=")
	}), env...)
	// What it prints last says why it failed, and may be shown to nobody otherwise.
	tail := report.NewTail()
	output = io.MultiWriter(output, tail)
	cmd.Stdout, cmd.Stderr = output, output
	// What it leaves in the background may keep them open.
	cmd.WaitDelay = outputTime
	err := cmd.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	err = fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	if said := tail.Lines(); len(said) > 0 {
		err = fmt.Errorf("%w: %s", err, strings.Join(said, "; "))
	}
	return err
}

// outputTime is how long the output of a program that has ended may take to arrive.
const outputTime = 5 * time.Second
