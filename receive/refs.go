package receive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ostree-push/cli"
	"ostree-push/ostree"
	"ostree-push/report"
)

// This file is about the refs of the target: which the pusher may know of and push, and which can be read.

// checkRefs returns an error that names the refs which may not be received.
func (r *receiver) checkRefs(refs []ostree.Ref) error {
	const most = 10
	var refused []string
	for _, ref := range refs {
		if !r.config.AllowsRef(string(ref)) {
			refused = append(refused, fmt.Sprintf("ref %s is not allowed here", ref))
		}
	}
	if n := len(refused) - most; n > 0 {
		refused = append(refused[:most], fmt.Sprintf("and so are %d more", n))
	}
	if len(refused) > 0 {
		return cli.Hint(errors.New(strings.Join(refused, "; ")), "what is allowed is up to the server's administrator: refs in its configuration, and --refs of this key")
	}
	return nil
}

// visible returns those refs of the target that the pusher is told of: the ones that may be
// received.
func (r *receiver) visible(refs ostree.Refs) ostree.Refs {
	shown := maps.Clone(refs)
	maps.DeleteFunc(shown, func(ref ostree.Ref, _ ostree.Checksum) bool { return !r.config.AllowsRef(string(ref)) })
	return shown
}

// hides reports whether the pusher is not to know of some refs of the target that others push.
func (r *receiver) hides(refs ostree.Refs) bool {
	for ref := range refs {
		if !generated(ref) && !r.config.AllowsRef(string(ref)) {
			return true
		}
	}
	return false
}

// goodRefs returns the refs of the target that show a commit which is there and can be read, and what is wrong with the
// others: no summary can be made of them. It says so, the first time.
func (r *receiver) goodRefs(ctx context.Context) (good ostree.Refs, bad map[ostree.Ref]error, err error) {
	list, err := r.target.ListRefs(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("list refs: %w", err)
	}
	good, bad = list.Refs, list.Bad
	for ref, sum := range list.Refs {
		commit, err := r.target.LoadCommit(sum)
		if err == nil {
			commit.Close()
			continue
		}
		// One whose file is empty is not there, either.
		if has, hasErr := r.target.HasObject(ctx, ostree.ObjectCommit, sum); hasErr == nil && !has {
			err = fmt.Errorf("its commit %s is not there", sum)
		}
		delete(good, ref)
		bad[ref] = err
	}
	if !r.warned {
		r.warned = true
		r.warnOfBadRefs(bad)
	}
	return good, bad, nil
}

// warnOfBadRefs says which of the refs that the pusher may know of show no commit. They are left out.
func (r *receiver) warnOfBadRefs(bad map[ostree.Ref]error) {
	var warnings []string
	for ref, err := range bad {
		if r.config.AllowsRef(string(ref)) {
			warnings = append(warnings, fmt.Sprintf("ref %s is left out, since it shows no commit: %v", report.Printable(string(ref)), err))
		}
	}
	slices.Sort(warnings)
	const most = 10
	for i, text := range warnings {
		if i == most {
			text = fmt.Sprintf("and so are %d more refs", len(warnings)-most)
		}
		r.sink.Log(report.Warning, text)
		if i == most {
			break
		}
	}
}
