package main

import (
	"archive/tar"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"ostree-push/internal/link"
)

// ref is the one ref of every data set.
const ref = "bench/x86_64/stable"

// A dataset is an archive repository to push from.
type dataset struct {
	repo    string
	content string // checksum of the content of ref
	objects map[string]int64
}

// A tree says what the files look like that make up a data set: some
// directories, three deep, and some files in each of them, with sizes evenly
// spread between two bounds. Their content does not compress.
type tree struct {
	middle, leaf int // directories in each of the ten upper, and in each of those
	files        int
	min, max     int
}

// trees returns the trees of the data sets; update is that of many, with other
// files in it. Each dirtree is an object, and there are a dirmeta and a commit:
// the files make up round numbers.
func trees(small bool) map[string]tree {
	if small {
		return map[string]tree{
			"many":   {middle: 1, leaf: 1, files: 127, min: 1000, max: 10140},
			"big":    {middle: 0, leaf: 0, files: 17, min: 10000, max: 169500},
			"object": {files: 1, min: 2e6, max: 2e6},
			"memory": {middle: 10, leaf: 9, files: 8987, min: 16, max: 64},
		}
	}
	return map[string]tree{
		"many":   {middle: 10, leaf: 9, files: 13987, min: 1000, max: 10140},
		"big":    {middle: 2, leaf: 9, files: 2787, min: 10000, max: 169500},
		"object": {files: 1, min: 200e6, max: 200e6},
		"memory": {middle: 100, leaf: 9, files: 989987, min: 16, max: 64},
	}
}

// A push goes from one data set into an empty repository, or into a copy of
// another data set.
type push struct {
	from, base  string
	dry         bool
	interrupted bool                 // at half, and it is made again
	oursOnly    bool                 // it is nothing that others can do
	links       func(link.Link) bool // over which it is made; all, if nil
}

func pushes() map[string]push {
	return map[string]push{
		"setup":  {},
		"many":   {from: "many"},
		"big":    {from: "big"},
		"update": {from: "update", base: "many"},
		"none":   {from: "many", base: "many"},
		"dry":    {from: "many", dry: true},
		"object": {from: "object"},
		"resume": {from: "object", interrupted: true, oursOnly: true, links: longOrNone},
		"memory": {from: "memory"},
	}
}

// longOrNone chooses loopback, and a long line of 1 Gbit/s.
func longOrNone(l link.Link) bool {
	return l == link.Link{} || l == link.Link{RTT: 150 * time.Millisecond, Rate: 1e9}
}

// timedCases returns the names of the cases that show times, in the order of
// the table.
func timedCases() []string {
	return []string{"setup", "many", "big", "update", "none", "dry", "object", "resume"}
}

// caseNames returns the names of all cases.
func caseNames() []string { return append(timedCases(), "memory") }

// A load is what the receiver lacks when a push begins, in the form of archive
// repositories.
type load struct {
	Objects int   `json:"objects"`
	Commits int   `json:"commits"` // of the objects
	Bytes   int64 `json:"bytes"`
}

func loadOf(from, base dataset) load {
	var l load
	for name, size := range from.objects {
		if _, ok := base.objects[name]; ok {
			continue
		}
		l.Objects++
		l.Bytes += size
		if strings.HasSuffix(name, ".commit") {
			l.Commits++
		}
	}
	return l
}

// prepare returns the data sets that the cases need, and generates those that
// are not in the directory.
func prepare(ctx context.Context, opts *options, work string) (map[string]dataset, error) {
	sets := map[string]dataset{}
	for _, c := range opts.cases {
		p := pushes()[c]
		for _, name := range []string{p.base, p.from} {
			if _, ok := sets[name]; ok || name == "" {
				continue
			}
			repo, err := opts.repository(ctx, work, name)
			if err != nil {
				return nil, err
			}
			if sets[name], err = inspect(ctx, repo); err != nil {
				return nil, err
			}
		}
	}
	return sets, nil
}

// repository returns where a data set is, which is generated if it is not there.
func (opts *options) repository(ctx context.Context, work, name string) (string, error) {
	dir, err := opts.dataDir(work)
	if err != nil {
		return "", err
	}
	repo := filepath.Join(dir, name)
	if _, err := os.Stat(repo); err == nil {
		return repo, nil
	}
	logf("generating %s", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return repo, generate(ctx, dir, name, trees(opts.small))
}

// generate makes a data set and, when it is complete, gives it its name.
func generate(ctx context.Context, dir, name string, trees map[string]tree) error {
	temp, err := os.MkdirTemp(dir, name+".part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	repo := filepath.Join(temp, "repo")
	if name == "update" {
		// Only a newer commit is an update.
		err = copyRepo(ctx, filepath.Join(dir, "many"), repo)
		err = errors.Join(err, commitTree(ctx, repo, trees["many"], 1))
	} else {
		err = ostree(ctx, repo, "init", "--mode=archive")
		err = errors.Join(err, commitTree(ctx, repo, trees[name], 0))
	}
	if err != nil {
		return err
	}
	return os.Rename(repo, filepath.Join(dir, name))
}

// commitTree commits the files of a tree, always the same ones. In a later
// generation, which is a day younger, each hundredth file is another. They go
// through a pipe, so that there is no second copy on the disk.
func commitTree(ctx context.Context, repo string, t tree, generation int) error {
	date := time.Date(2024, 1, 1+generation, 0, 0, 0, 0, time.UTC)
	cmd := exec.CommandContext(ctx, "ostree", "commit", "--repo="+repo, "--branch="+ref, "--subject=Benchmark",
		"--fsync=false", "--no-xattrs", "--tree=tar=-", "--timestamp="+date.Format(time.RFC3339))
	read, write := io.Pipe()
	go func() { write.CloseWithError(writeTree(write, t, generation)) }()
	defer read.Close() // ends writeTree, whatever becomes of the command
	cmd.Stdin = read
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ostree commit: %w: %s", err, out)
	}
	return nil
}

// writeTree writes the files of a tree as a tar archive.
func writeTree(w io.Writer, t tree, generation int) error {
	archive := tar.NewWriter(w)
	dirs := []string{"."}
	for upper := range 10 {
		dir := fmt.Sprintf("./upper-%d", upper)
		dirs = append(dirs, dir)
		for middle := range t.middle {
			dir := fmt.Sprintf("%s/middle-%d", dir, middle)
			dirs = append(dirs, dir)
			for leaf := range t.leaf {
				dirs = append(dirs, fmt.Sprintf("%s/leaf-%d", dir, leaf))
			}
		}
	}
	for _, dir := range dirs {
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}); err != nil {
			return err
		}
	}
	for i := range t.files {
		size, content := fileContent(t, i, generation)
		name := fmt.Sprintf("%s/file-%05d", dirs[i%len(dirs)], i)
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size}); err != nil {
			return err
		}
		if _, err := io.CopyN(archive, content, size); err != nil {
			return err
		}
	}
	return archive.Close()
}

// fileContent returns how long a file is, and where its content begins.
func fileContent(t tree, i, generation int) (int64, io.Reader) {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[0:], uint64(i))
	binary.LittleEndian.PutUint64(seed[8:], uint64(t.files))
	if i%100 == 0 {
		binary.LittleEndian.PutUint64(seed[16:], uint64(generation))
	}
	source := rand.NewChaCha8(seed)
	size := t.min
	if t.max > t.min {
		size += rand.New(source).IntN(t.max - t.min)
	}
	return int64(size), source
}

func inspect(ctx context.Context, repo string) (dataset, error) {
	set := dataset{repo: repo}
	var err error
	if set.objects, err = listObjects(repo); err != nil {
		return dataset{}, err
	}
	set.content, err = contentOf(ctx, repo)
	return set, err
}

// listObjects returns the objects of a repository, and their sizes.
func listObjects(repo string) (map[string]int64, error) {
	objects := map[string]int64{}
	root := filepath.Join(repo, "objects")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		objects[strings.TrimPrefix(path, root)] = info.Size()
		return nil
	})
	return objects, err
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
