package push

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kballard/go-shellquote"

	"ostree-push/cli"
	"ostree-push/ostree"
)

// hintMissing says what to do about refs that are not local refs. They may be those of a remote,
// or of a mirror, which a list of all refs shows as well.
func hintMissing(err error, repo *ostree.Repo, missing []string) error {
	path := shellquote.Join(repo.Path())
	elsewhere := false
	for _, name := range slices.Backward(missing) { // the last hint is said first
		if ref, from, ok := remoteRef(repo.Path(), name); ok {
			elsewhere = true
			err = cli.Hint(err, "%s is a ref of the remote %s, and only local refs are pushed; to have it as one: ostree refs --repo=%s --create=%s %s",
				ref, from, path, shellquote.Join(string(ref)), shellquote.Join(from+":"+string(ref)))
		} else if ref, from, sum, ok := mirrorRef(repo.Path(), name); ok {
			elsewhere = true
			err = cli.Hint(err, "%s is mirrored from the collection %s, and only local refs are pushed; to have it as one: ostree refs --repo=%s --create=%s %s",
				ref, from, path, shellquote.Join(string(ref)), sum)
		}
	}
	if elsewhere {
		return err
	}
	return cli.Hint(err, "ostree refs --repo=%s lists those that are there", path)
}

// remoteRef looks for a ref of a remote that is called "NAME" or "REMOTE:NAME".
func remoteRef(repo, name string) (ref ostree.Ref, remote string, ok bool) {
	named, short, isNamed := strings.Cut(name, ":")
	if !isNamed {
		short = name
	}
	ref, remote, _, ok = refBelow(filepath.Join(repo, "refs/remotes"), short, func(remote string) bool {
		return !isNamed || remote == named
	})
	return ref, remote, ok
}

// mirrorRef looks for a ref that has been mirrored from a collection.
func mirrorRef(repo, name string) (ref ostree.Ref, collection string, sum ostree.Checksum, ok bool) {
	return refBelow(filepath.Join(repo, "refs/mirrors"), name, func(string) bool { return true })
}

// refBelow looks for a ref in the directories of dir.
func refBelow(dir, name string, wanted func(owner string) bool) (ref ostree.Ref, owner string, sum ostree.Checksum, ok bool) {
	ref, err := ostree.ParseRef(name)
	if err != nil {
		return ref, "", sum, false
	}
	owners, _ := os.ReadDir(dir)
	for _, entry := range owners {
		if !wanted(entry.Name()) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, entry.Name(), string(ref)))
		if err != nil {
			continue
		}
		if sum, err = ostree.ParseChecksum(strings.TrimSpace(string(content))); err == nil {
			return ref, entry.Name(), sum, true
		}
	}
	return ref, "", sum, false
}
