package receive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ostree-push/cli"
	"ostree-push/ostree"
	"ostree-push/report"
)

// This file remembers, in the repository, which refs the metadata is still to show: whoever moves refs may be
// killed before that, and a hook may fail. The next receive does it, whatever it brings.

// pendingName is a file in the repository that is there while its metadata may be behind its refs.
const pendingName = ".ostree-receive.pending"

// pending is what is in it.
type pending struct {
	Since time.Time    `json:"since"`
	Refs  []ostree.Ref `json:"refs"` // that are being moved, or have been
}

func (r *receiver) pendingPath() string { return filepath.Join(r.target.Path(), pendingName) }

// readPending returns what is pending, nil if nothing is. What cannot be read is as good as a
// file without refs: something is pending.
func (r *receiver) readPending() (*pending, error) {
	content, err := os.ReadFile(r.pendingPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, cli.Hint(fmt.Errorf("read what is pending: %w", err), "%s of the repository is a file of the account that receives: remove what is in its place", pendingName)
	}
	p := &pending{}
	if err := json.Unmarshal(content, p); err != nil {
		return &pending{}, nil
	}
	p.Refs = slices.DeleteFunc(p.Refs, func(ref ostree.Ref) bool {
		_, err := ostree.ParseRef(string(ref))
		return err != nil
	})
	return p, nil
}

// remember says, before the first ref moves, that the metadata is to show some. It returns what was pending
// before.
func (r *receiver) remember(updates []ostree.RefUpdate) (before *pending, err error) {
	if before, err = r.readPending(); err != nil {
		return nil, err
	}
	var refs []ostree.Ref
	for _, u := range updates {
		refs = append(refs, u.Ref)
	}
	return before, r.setPending(before, refs)
}

// setPending says that the metadata is to show some refs, besides what was pending before.
func (r *receiver) setPending(before *pending, refs []ostree.Ref) error {
	if !r.config.Update && !r.autoSummary() {
		return nil
	}
	now := pending{Since: time.Now().UTC(), Refs: refs}
	if before != nil {
		now.Since, now.Refs = before.Since, mergeRefs(before.Refs, refs)
	} else if len(refs) == 0 {
		return r.forget()
	}
	content, err := json.Marshal(now)
	if err == nil {
		err = r.target.ReplaceFile(pendingName, append(content, '\n'), 0o640)
	}
	if err != nil {
		return fmt.Errorf("remember what is pending: %w", err)
	}
	return nil
}

// forget says that nothing is pending any more.
func (r *receiver) forget() error {
	if err := os.Remove(r.pendingPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget what was pending: %w", err)
	}
	return nil
}

// catchUp does what an earlier receive has left undone, though nothing moves. The lock is held.
func (r *receiver) catchUp(ctx context.Context, vs *verdicts) error {
	behind, err := r.isBehind(vs)
	if err != nil || !behind {
		return err
	}
	r.sink.Log(report.Info, "The repository's metadata does not show all refs yet: updating it")
	return r.show(ctx, nil)
}

// catchUpAlone is catchUp where the lock is not held.
func (r *receiver) catchUpAlone(ctx context.Context, vs *verdicts) error {
	if behind, err := r.isBehind(vs); err != nil || !behind {
		return err
	}
	lock, err := lockRepo(ctx, r.target, r.sink)
	if err != nil {
		return err
	}
	defer lock.release()
	return r.catchUp(context.WithoutCancel(ctx), vs)
}

// isBehind reports whether something is pending, or the summary does not show refs that are up to date.
func (r *receiver) isBehind(vs *verdicts) (bool, error) {
	if r.config.DryRun || !r.config.Update && !r.autoSummary() {
		return false, nil
	}
	p, err := r.readPending()
	if err != nil || p != nil || r.config.UpdateHook != nil && !r.autoSummary() {
		return p != nil, err // what a hook does with the metadata, it alone knows
	}
	if r.target.CoreOption("xa.summary-arches") != "" {
		return false, nil // flatpak leaves refs out of this one
	}
	summary, err := r.target.Summary()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read the summary: %w", err)
	}
	shown := ostree.Refs{}
	if err == nil {
		if shown, err = ostree.ParseSummary(summary); err != nil {
			return true, nil
		}
	}
	for ref, sum := range vs.upToDate() {
		if shown[ref] != sum {
			return true, nil
		}
	}
	return false, nil
}

// upToDate returns the refs that have what was offered already, with their commits.
func (vs *verdicts) upToDate() ostree.Refs {
	refs := maps.Clone(vs.current)
	if refs == nil {
		refs = ostree.Refs{}
	}
	for _, v := range vs.all {
		if v.status == report.UpToDate && !v.parent.IsZero() {
			refs[v.ref] = v.current
		}
	}
	return refs
}
