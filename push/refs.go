package push

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"ostree-push/cli"
	"ostree-push/internal/workers"
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

// digests are those of what commits publish.
type digests map[ostree.Checksum]ostree.Digest

// localRefs returns the local refs that are to be pushed: those that are named, or else all whose commits are there in
// whole, and the digests of their commits. One that is bad is no reason not to push the others.
func localRefs(ctx context.Context, repo *ostree.Repo, named []string, warn func(string)) (ostree.Refs, digests, error) {
	list, err := readLocal(ctx, repo, named)
	if err != nil {
		return nil, nil, err
	}
	refs, bad := list.Refs, list.Bad
	if len(refs) == 0 && len(bad) == 0 {
		warn(fmt.Sprintf("%s has no refs of its own", repo.Path()))
	}
	digests, broken := loadCommits(ctx, repo, refs)
	for ref, sum := range refs {
		if err := broken[sum]; err != nil {
			bad[ref] = err
		}
	}
	for _, ref := range slices.Sorted(maps.Keys(bad)) {
		if len(named) > 0 {
			return nil, nil, fmt.Errorf("ref %s: %w", ref, bad[ref])
		}
		warn(fmt.Sprintf("ref %s is not pushed: %v", ref, bad[ref]))
		delete(refs, ref)
	}
	return refs, digests, context.Cause(ctx)
}

// readLocal reads the refs that are named, which have to be there, or else all.
func readLocal(ctx context.Context, repo *ostree.Repo, named []string) (list *ostree.RefList, err error) {
	var names []ostree.Ref
	for _, name := range named {
		names = append(names, ostree.Ref(name))
	}
	if len(named) > 0 {
		list, err = repo.ReadRefs(ctx, names)
	} else {
		list, err = repo.ListRefs(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("list the refs of %s: %w", repo.Path(), err)
	}
	var missing []string
	for _, ref := range names {
		if _, ok := list.Refs[ref]; !ok && list.Bad[ref] == nil {
			missing = append(missing, string(ref))
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, hintMissing(fmt.Errorf("Refs %s not found in %s", strings.Join(slices.Compact(missing), " "), repo.Path()), repo, missing)
	}
	return list, nil
}

// loadCommits returns the digests of the commits of refs, and what is wrong with the others.
func loadCommits(ctx context.Context, repo *ostree.Repo, refs ostree.Refs) (digests, map[ostree.Checksum]error) {
	var mu sync.Mutex
	whole, broken := digests{}, map[ostree.Checksum]error{}
	work := make(chan ostree.Checksum)
	loaders := workers.Start(work, func(sum ostree.Checksum) {
		digest, err := loadWhole(repo, sum)
		mu.Lock()
		defer mu.Unlock()
		if whole[sum] = digest; err != nil {
			broken[sum] = err
		}
	})
	sent := map[ostree.Checksum]bool{}
	for _, sum := range refs {
		if !sent[sum] && ctx.Err() == nil {
			sent[sum] = true
			work <- sum
		}
	}
	close(work)
	loaders.Wait()
	return whole, broken
}

// loadWhole returns the digest of a commit. It is an error if the commit is not there, or only a part of it.
func loadWhole(repo *ostree.Repo, sum ostree.Checksum) (ostree.Digest, error) {
	commit, err := repo.LoadCommit(sum)
	if err != nil {
		return ostree.Digest{}, fmt.Errorf("load commit %s: %w", sum, err)
	}
	defer commit.Close()
	if commit.Partial {
		return ostree.Digest{}, cli.Hint(fmt.Errorf("commit %s is partial: some of its objects are not in %s", sum, repo.Path()), "pull it completely first")
	}
	return commit.PublishedDigest(), nil
}
