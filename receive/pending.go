package receive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

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

// maxPending bounds what is read of it, in bytes.
const maxPending = 64 << 20

func pendingPath(target *ostree.Repo) string { return filepath.Join(target.Path(), pendingName) }

// readPending returns what is pending, nil if nothing is. What is no such list is as good as one
// without refs: something is pending.
func readPending(target *ostree.Repo) (*pending, error) {
	content, err := readPendingFile(pendingPath(target))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, cli.Hint(fmt.Errorf("read what is pending: %w", err),
			"%s is to be a file of the account that receives: remove what is there, and run ostree-receive --update", pendingName)
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

func readPendingFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxPending))
}

// remember says, before the first ref moves, that the metadata is to show some. It returns what was pending
// before.
func (r *receiver) remember(refs []ostree.Ref) (before *pending, err error) {
	if before, err = readPending(r.target); err != nil {
		return nil, err
	}
	return before, r.setPending(before, refs)
}

// setPending says that the metadata is to show some refs, besides what was pending before, if it is to be updated at
// all. Nothing is pending if there are none, and before is nil.
func (r *receiver) setPending(before *pending, refs []ostree.Ref) error {
	if !r.config.Update {
		return nil
	}
	now := pending{Since: time.Now().UTC(), Refs: refs}
	if before != nil {
		now.Since, now.Refs = before.Since, mergeRefs(before.Refs, refs)
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

// stillPending returns the refs that are pending from earlier, of those that are there: what has been
// remembered need not have been made, or may have been deleted since.
func (r *receiver) stillPending(ctx context.Context) ([]ostree.Ref, error) {
	p, err := readPending(r.target)
	if err != nil || p == nil {
		return nil, err
	}
	list, err := r.target.ReadRefs(ctx, p.Refs)
	if err != nil {
		return nil, fmt.Errorf("read refs: %w", err)
	}
	return slices.DeleteFunc(p.Refs, func(ref ostree.Ref) bool {
		_, ok := list.Refs[ref]
		return !ok
	}), nil
}

// forget says that nothing is pending any more.
func (r *receiver) forget() error {
	if err := os.Remove(pendingPath(r.target)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget what was pending: %w", err)
	}
	return nil
}

// catchUp does what an earlier receive has left undone, though nothing moves. The lock is held.
func (r *receiver) catchUp(ctx context.Context) error {
	behind, err := r.isBehind(ctx)
	if err != nil || !behind {
		return err
	}
	r.sink.Log(report.Info, "What follows a change of refs has not been done yet: doing it now")
	// It may fail when a summary is there that shows all, unsigned.
	if _, err := r.remember(nil); err != nil {
		return err
	}
	return r.show(ctx, nil)
}

// catchUpAlone is catchUp where the lock is not held.
func (r *receiver) catchUpAlone(ctx context.Context) error {
	if behind, err := r.isBehind(ctx); err != nil || !behind {
		return err
	}
	lock, err := lockRepo(ctx, r.target, r.sink)
	if err != nil {
		return err
	}
	defer lock.release()
	return r.catchUp(context.WithoutCancel(ctx))
}

// isBehind reports whether something is pending, or the summary does not show the refs as they are.
func (r *receiver) isBehind(ctx context.Context) (bool, error) {
	if !r.config.Update || r.config.DryRun {
		return false, nil
	}
	p, err := readPending(r.target)
	if err != nil || p != nil || r.config.UpdateHook != nil {
		return p != nil, err // what a hook does with the metadata, it alone knows
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
	refs, _, err := r.goodRefs(ctx)
	return err == nil && r.differs(shown, refs), err
}

// differs reports whether a summary that shows some refs is not that of a repository which has others. Those
// that updating the metadata generates are left out: it may do so after the summary.
func (r *receiver) differs(shown, refs ostree.Refs) bool {
	for ref, sum := range shown {
		if !generated(ref) && refs[ref] != sum {
			return true
		}
	}
	// flatpak leaves out the refs of all other architectures then.
	someArches := r.target.ConfigOption("flatpak", "summary-arches") != ""
	for ref := range refs {
		if _, ok := shown[ref]; !ok && !generated(ref) && !(someArches && isFlatpak(ref)) {
			return true
		}
	}
	return false
}
