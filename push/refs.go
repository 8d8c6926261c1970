package push

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ostree-push/cli"
	"ostree-push/ostree"
)

// openLocal opens the repository to push from.
func openLocal(path string) (*ostree.Repo, error) {
	if path == "" {
		repo, err := ostree.OpenDefault()
		if err != nil {
			return nil, cli.Hint(fmt.Errorf("open local repository: %w", err), "name the repository to push from with --repo, or in OSTREE_REPO")
		}
		return repo, nil
	}
	repo, err := ostree.Open(path)
	if errors.Is(err, ostree.ErrNotFound) {
		return nil, cli.Hint(fmt.Errorf("open local repository: %s is not an OSTree repository", path),
			"--repo is to name the repository to push from; the one on the server is part of DEST")
	}
	if err != nil {
		return nil, fmt.Errorf("open local repository %s: %w", path, err)
	}
	return repo, nil
}

// localRefs returns the local refs that are to be pushed: those that are named, or else all whose commits are there in
// whole. One that is bad is no reason not to push the others.
func localRefs(ctx context.Context, repo *ostree.Repo, named []string, warn func(string)) (ostree.Refs, error) {
	list, err := repo.ListRefs(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the refs of %s: %w", repo.Path(), err)
	}
	refs, bad := list.Refs, list.Bad
	var missing []string
	for _, name := range named {
		ref := ostree.Ref(name)
		if _, ok := refs[ref]; !ok && bad[ref] == nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, hintMissing(fmt.Errorf("Refs %s not found in %s", strings.Join(slices.Compact(missing), " "), repo.Path()), repo, missing)
	}
	if len(refs) == 0 && len(bad) == 0 {
		warn(fmt.Sprintf("%s has no refs of its own", repo.Path()))
	}
	if len(named) > 0 {
		isNamed := func(ref ostree.Ref) bool { return slices.Contains(named, string(ref)) }
		maps.DeleteFunc(refs, func(ref ostree.Ref, _ ostree.Checksum) bool { return !isNamed(ref) })
		maps.DeleteFunc(bad, func(ref ostree.Ref, _ error) bool { return !isNamed(ref) })
	}
	for ref, sum := range refs {
		if err := checkWhole(repo, sum); err != nil {
			bad[ref] = err
		}
	}
	for _, ref := range slices.Sorted(maps.Keys(bad)) {
		if len(named) > 0 {
			return nil, fmt.Errorf("ref %s: %w", ref, bad[ref])
		}
		warn(fmt.Sprintf("ref %s is not pushed: %v", ref, bad[ref]))
		delete(refs, ref)
	}
	return refs, nil
}

// checkWhole returns an error if a commit is not there, or only a part of it.
func checkWhole(repo *ostree.Repo, sum ostree.Checksum) error {
	commit, err := repo.LoadCommit(sum)
	if err != nil {
		return fmt.Errorf("load commit %s: %w", sum, err)
	}
	commit.Close()
	if commit.Partial {
		return cli.Hint(fmt.Errorf("commit %s is partial: some of its objects are not in %s", sum, repo.Path()), "pull it completely first")
	}
	return nil
}
