package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
)

// ref is the one ref of every data set.
const ref = "bench/x86_64/stable"

// A dataset is an archive repository to push from.
type dataset struct {
	repo    string
	content string // checksum of the content of ref
	objects int
	size    int64 // of all objects
}

// A tree says what the files look like that make up a data set: some
// directories, three deep, and some files in each of them, with sizes evenly
// spread between two bounds. Their content does not compress.
type tree struct {
	middle, leaf int // directories in each of the ten upper, and in each of those
	files        int
	min, max     int
}

func trees() map[string]tree {
	return map[string]tree{
		"many": {middle: 10, leaf: 9, files: 13987, min: 1000, max: 10140},
		"big":  {middle: 2, leaf: 9, files: 2787, min: 10000, max: 169500},
	}
}

// A push goes from one data set into an empty repository, or into a copy of
// another data set.
type push struct{ from, base string }

func pushes() map[string]push {
	return map[string]push{
		"many":   {from: "many"},
		"big":    {from: "big"},
		"update": {from: "update", base: "many"},
		"none":   {from: "many", base: "many"},
	}
}

// prepare returns the data sets that the cases need, and generates those that
// are not in the directory, for which it needs a working directory.
func prepare(ctx context.Context, dir, work string, cases []string) (map[string]dataset, error) {
	// The repositories are used by other processes, with other directories.
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	sets := map[string]dataset{}
	for _, c := range cases {
		p := pushes()[c]
		for _, name := range []string{p.base, p.from} {
			if _, ok := sets[name]; ok || name == "" {
				continue
			}
			repo := filepath.Join(dir, name)
			if _, err := os.Stat(repo); err != nil {
				logf("generating %s", name)
				if err := generate(ctx, dir, work, name); err != nil {
					return nil, err
				}
			}
			set, err := inspect(ctx, repo)
			if err != nil {
				return nil, err
			}
			sets[name] = set
		}
	}
	return sets, nil
}

// generate makes a data set and, when it is complete, gives it its name. The
// files that it is made of stay in the working directory (see ext4.go).
func generate(ctx context.Context, dir, work, name string) error {
	files := filepath.Join(work, "files-"+name)
	temp, err := os.MkdirTemp(dir, name+".part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	repo := filepath.Join(temp, "repo")

	commit := func(age time.Duration) error {
		return ostree(ctx, repo, "commit", "--branch="+ref, "--subject="+name, "--fsync=false",
			"--owner-uid=0", "--owner-gid=0", "--no-xattrs", "--tree=dir="+files,
			// Only a newer commit is an update.
			"--timestamp="+time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Add(-age).Format(time.RFC3339))
	}
	if name == "update" {
		if err := copyRepo(ctx, filepath.Join(dir, "many"), repo); err != nil {
			return err
		}
		if err := writeTree(ctx, files, trees()["many"], 1); err != nil {
			return err
		}
		if err := commit(0); err != nil {
			return err
		}
	} else {
		if err := ostree(ctx, repo, "init", "--mode=archive"); err != nil {
			return err
		}
		if err := writeTree(ctx, files, trees()[name], 0); err != nil {
			return err
		}
		if err := commit(24 * time.Hour); err != nil {
			return err
		}
	}
	return os.Rename(repo, filepath.Join(dir, name))
}

// writeTree writes the files of a tree, always the same ones. In a later
// generation, each hundredth file is another.
func writeTree(ctx context.Context, root string, t tree, generation uint64) error {
	// Modes are part of the objects.
	defer syscall.Umask(syscall.Umask(0o022))

	dirs := []string{root}
	for upper := range 10 {
		dir := filepath.Join(root, fmt.Sprintf("upper-%d", upper))
		dirs = append(dirs, dir)
		for middle := range t.middle {
			dir := filepath.Join(dir, fmt.Sprintf("middle-%d", middle))
			dirs = append(dirs, dir)
			for leaf := range t.leaf {
				dirs = append(dirs, filepath.Join(dir, fmt.Sprintf("leaf-%d", leaf)))
			}
		}
	}
	for _, dir := range dirs {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	for i := range t.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		var seed [32]byte
		binary.LittleEndian.PutUint64(seed[0:], uint64(i))
		binary.LittleEndian.PutUint64(seed[8:], uint64(t.files))
		if i%100 == 0 {
			binary.LittleEndian.PutUint64(seed[16:], generation)
		}
		source := rand.NewChaCha8(seed)
		content := make([]byte, t.min+rand.New(source).IntN(t.max-t.min))
		source.Read(content)
		name := filepath.Join(dirs[i%len(dirs)], fmt.Sprintf("file-%05d", i))
		if err := os.WriteFile(name, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func inspect(ctx context.Context, repo string) (dataset, error) {
	set := dataset{repo: repo}
	var err error
	if set.objects, set.size, err = countObjects(repo); err != nil {
		return dataset{}, err
	}
	set.content, err = contentOf(ctx, repo)
	return set, err
}

func (d dataset) String() string {
	return fmt.Sprintf("%s objects, %s", humanize.Comma(int64(d.objects)), humanize.Bytes(uint64(d.size)))
}

func countObjects(repo string) (n int, size int64, err error) {
	err = filepath.WalkDir(filepath.Join(repo, "objects"), func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		n++
		size += info.Size()
		return nil
	})
	return n, size, err
}

// contentOf returns the checksum of what the ref's commit holds, which stays
// the same when the commit is written anew.
func contentOf(ctx context.Context, repo string) (string, error) {
	out, err := exec.CommandContext(ctx, "ostree", "show", "--repo="+repo, ref).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("show %s of %s: %w: %s", ref, repo, err, out)
	}
	for line := range strings.Lines(string(out)) {
		if sum, ok := strings.CutPrefix(line, "ContentChecksum:"); ok {
			return strings.TrimSpace(sum), nil
		}
	}
	return "", fmt.Errorf("ostree show tells no content checksum: %s", out)
}

// copyRepo copies a repository with its times, by which rsync sees what it
// need not copy. The summary is left out: not all of the contenders make one.
func copyRepo(ctx context.Context, from, to string) error {
	out, err := exec.CommandContext(ctx, "cp", "-a", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return os.RemoveAll(filepath.Join(to, "summary"))
}

func ostree(ctx context.Context, repo, command string, args ...string) error {
	args = append([]string{command, "--repo=" + repo}, args...)
	out, err := exec.CommandContext(ctx, "ostree", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ostree %s: %w: %s", command, err, out)
	}
	return nil
}

// logf tells what is going on, while the table is not there yet.
func logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
