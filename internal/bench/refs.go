package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Data sets of refs: each ref shows a small tree of its own, of ten files in three directories, which differs
// from the others in a file or two. Of a set are made one with a newer commit on the first ref, of three objects,
// and one that is what a first push makes of it, in a repository that has a collection: so each
// commit is written anew there, as it is wherever the receiver has something to say of it.
const (
	next   = "-next"
	pushed = "-pushed"
)

// A refSet is how many refs there are, and whether they are the older ones.
type refSet struct{ count, generation int }

func refSets(small bool) map[string]refSet {
	many := 20_000
	if small {
		many = 200
	}
	return map[string]refSet{"refs1": {1, 0}, "refs": {many, 0}, "refs-new": {many, 1}}
}

// refName returns the name of a ref, four of which are in a directory, as those of flatpak's applications are. All are as
// long as the first one, which is that of every data set.
func refName(i int) string {
	if i == 0 {
		return ref
	}
	return fmt.Sprintf("bench/%04d/%s", i/4, []string{"arm/beta", "arm/main", "x86/beta", "x86/main"}[i%4])
}

// generateRefs makes the refs of a data set. Its trees are committed at once, as the directories of one, whose commit is the
// pattern of theirs: libostree's programs make one commit each, which takes minutes for so many.
func generateRefs(ctx context.Context, repo string, set refSet) error {
	trees := func(w io.Writer) error { return writeRefTrees(w, set) }
	if err := commitTar(ctx, repo, set.generation, trees); err != nil {
		return err
	}
	pattern, err := firstCommit(repo)
	if err != nil {
		return err
	}
	commit, err := os.ReadFile(pattern)
	if err != nil {
		return err
	}
	root, roots, err := rootTrees(ctx, repo)
	if err != nil {
		return err
	}
	for i := range set.count {
		tree, ok := roots[strconv.Itoa(i)]
		if !ok || bytes.Count(commit, []byte(ref)) != 1 || bytes.Count(commit, root) != 1 {
			return fmt.Errorf("the commit of all trees is no pattern for that of tree %d", i)
		}
		one := bytes.Replace(commit, []byte(ref), []byte(refName(i)), 1)
		if err := writeRef(repo, refName(i), bytes.Replace(one, root, tree, 1)); err != nil {
			return err
		}
	}
	if err := os.Remove(pattern); err != nil {
		return err
	}
	return os.Remove(objectFile(repo, hex.EncodeToString(root), "dirtree"))
}

// writeRefTrees writes the trees of all refs as a tar archive.
func writeRefTrees(w io.Writer, set refSet) error {
	archive := newArchive(w)
	archive.dir(".")
	for i := range set.count {
		root := fmt.Sprintf("./%d", i)
		for _, dir := range []string{root, root + "/bin", root + "/lib", root + "/share"} {
			archive.dir(dir)
		}
		archive.file(root+"/metadata", 300, noise(1, i, set.generation))
		if program := root + "/bin/program"; i > 0 && i%2 == 0 {
			archive.link(program, "./0/bin/program")
		} else {
			archive.file(program, 2000, noise(2, i))
		}
		archive.shared(root, i == 0)
	}
	return archive.close()
}

// shared writes the files that all trees have, which are those of the first one.
func (a *archive) shared(root string, first bool) {
	for n, name := range []string{"bin/helper", "lib/a", "lib/b", "lib/c", "share/a", "share/b", "share/c", "share/d"} {
		if first {
			a.file(root+"/"+name, 4000, noise(3, n))
		} else {
			a.link(root+"/"+name, "./0/"+name)
		}
	}
}

// commitNext commits a newer tree on the first ref, in which one file is another.
func commitNext(ctx context.Context, repo string) error {
	return commitTar(ctx, repo, 1, func(w io.Writer) error {
		archive := newArchive(w)
		archive.file("./metadata", 300, noise(1, 0, 1))
		return archive.close()
	}, "--tree=ref="+ref)
}

// rootTrees returns the checksum of the tree that the first ref shows, and those of its directories.
func rootTrees(ctx context.Context, repo string) (root []byte, dirs map[string][]byte, err error) {
	out, err := exec.CommandContext(ctx, "ostree", "ls", "-C", "--repo="+repo, ref, "/").Output()
	if err != nil {
		return nil, nil, fmt.Errorf("ostree ls %s of %s: %w", ref, repo, err)
	}
	dirs = map[string][]byte{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line) // mode, owner, group, size, dirtree, dirmeta, path
		if len(fields) != 7 {
			return nil, nil, fmt.Errorf("ostree ls prints %q", line)
		}
		sum, err := hex.DecodeString(fields[4])
		if err != nil {
			return nil, nil, err
		}
		dirs[strings.TrimPrefix(fields[6], "/")] = sum
	}
	return dirs[""], dirs, nil
}

// writeRef writes a commit object, and a ref that shows it.
func writeRef(repo, name string, commit []byte) error {
	sum := sha256.Sum256(commit)
	hexed := hex.EncodeToString(sum[:])
	for file, content := range map[string][]byte{
		objectFile(repo, hexed, "commit"):          commit,
		filepath.Join(repo, "refs", "heads", name): []byte(hexed + "\n"),
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func objectFile(repo, sum, extension string) string {
	return filepath.Join(repo, "objects", sum[:2], sum[2:]+"."+extension)
}

// firstCommit returns the file of the commit that the first ref shows.
func firstCommit(repo string) (string, error) {
	sum, err := os.ReadFile(filepath.Join(repo, "refs", "heads", ref))
	if err != nil {
		return "", err
	}
	return objectFile(repo, strings.TrimSpace(string(sum)), "commit"), nil
}

// countRefs returns how many refs a repository has.
func countRefs(repo string) (int, error) {
	count := 0
	err := filepath.WalkDir(filepath.Join(repo, "refs", "heads"), func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			count++
		}
		return err
	})
	return count, err
}

// pushAll makes a repository into which a contender has pushed all refs of another.
func (b *bench) pushAll(ctx context.Context, from, to string) error {
	at := slices.IndexFunc(b.contenders, func(c *contender) bool { return c.name == ours })
	if at < 0 {
		return errors.New("there is no ostree-push to push it with")
	}
	if err := ostree(ctx, to, "init", "--mode=archive", "--collection-id=org.example.Bench"); err != nil {
		return err
	}
	c, p := b.contenders[at], push{all: true, noUpdate: true}
	if err := c.configure(p); err != nil {
		return err
	}
	_, err := c.run(ctx, time.Hour, c.command(c.server.Port(), p, from, to), b.work)
	return err
}
