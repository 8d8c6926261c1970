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
	"slices"
	"strings"
	"time"

	"ostree-push/internal/link"
)

// ref is the one ref of every data set.
const ref = "bench/x86_64/stable"

// A dataset is a repository to push from; an archive, but for one of them.
type dataset struct {
	repo    string
	content string // checksum of the content of ref
	refs    int
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
	all         bool                 // refs, and not just the first one
	noUpdate    bool                 // of the summary
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

		"refs1-changed": refsPush("refs1"+next, "refs1"+pushed),
		"refs1-same":    refsPush("refs1", "refs1"+pushed),
		"refs-changed":  refsPush("refs"+next, "refs"+pushed),
		"refs-same":     refsPush("refs", "refs"+pushed),
		"refs-all":      {from: "refs", base: "refs" + pushed, all: true, oursOnly: true, noUpdate: true},

		"memory":         {from: "memory"},
		"memory-archive": {from: "large"},
		"memory-bare":    {from: "large-bare"},
		"memory-refs":    {from: "refs-new", base: "refs" + pushed, all: true, oursOnly: true, noUpdate: true},
	}
}

// longOrNone chooses loopback, and a long line of 1 Gbit/s.
func longOrNone(l link.Link) bool {
	return l == link.Link{} || l == link.Link{RTT: 150 * time.Millisecond, Rate: 1e9}
}

// timedCases returns the names of the cases that show times, in the order of
// the table.
func timedCases() []string {
	return []string{"setup", "many", "big", "update", "none", "dry", "object", "resume",
		"refs1-changed", "refs1-same", "refs-changed", "refs-same", "refs-all"}
}

// memoryCases returns the names of those that show memory.
func memoryCases() []string {
	return []string{"memory", "memory-archive", "memory-bare", "memory-refs"}
}

// caseNames returns the names of all cases.
func caseNames() []string { return append(timedCases(), memoryCases()...) }

// refsPush pushes the first ref, which others are beside of.
func refsPush(from, base string) push {
	return push{from: from, base: base, oursOnly: true, noUpdate: true}
}

// A load is what the receiver lacks when a push begins, in the form of archive
// repositories.
type load struct {
	Refs    int   `json:"refs,omitempty"` // that are pushed from, unless it is just one
	Objects int   `json:"objects"`
	Commits int   `json:"commits"` // of the objects
	Bytes   int64 `json:"bytes"`
}

func loadOf(from, base dataset) load {
	var l load
	if from.refs > 1 {
		l.Refs = from.refs
	}
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
func (b *bench) prepare(ctx context.Context) (map[string]dataset, error) {
	sets := map[string]dataset{}
	for _, c := range b.opts.cases {
		p := pushes()[c]
		for _, name := range []string{p.base, p.from} {
			if _, ok := sets[name]; ok || name == "" {
				continue
			}
			repo, err := b.repository(ctx, name)
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
func (b *bench) repository(ctx context.Context, name string) (string, error) {
	dir, err := b.opts.dataDir(b.work)
	if err != nil {
		return "", err
	}
	repo := filepath.Join(dir, name)
	if isLarge(name) {
		repo += fmt.Sprintf("-%d", b.opts.size)
	}
	if _, err := os.Stat(repo); err == nil {
		return repo, nil
	}
	// Only a newer commit is an update, and so it is made of the older one.
	older := ""
	if of := origin(name); of != "" {
		if older, err = b.repository(ctx, of); err != nil {
			return "", err
		}
	}
	logf("generating %s", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(dir, name+".part-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	part := filepath.Join(temp, "repo")
	if err := b.generate(ctx, name, older, part); err != nil {
		return "", err
	}
	return repo, os.Rename(part, repo)
}

// isLarge tells whether a data set is one large object, whose size an option sets.
func isLarge(name string) bool { return name == "large" || name == "large-bare" }

// origin returns the data set that another one is made of, if it is.
func origin(name string) string {
	if name == "update" {
		return "many"
	}
	for _, suffix := range []string{next, pushed} {
		if of, ok := strings.CutSuffix(name, suffix); ok {
			return of
		}
	}
	return ""
}

// generate makes a data set.
func (b *bench) generate(ctx context.Context, name, older, repo string) error {
	switch {
	case name == "update":
		return errors.Join(copyRepo(ctx, older, repo), commitTree(ctx, repo, trees(b.opts.small)["many"], 1))
	case strings.HasSuffix(name, next):
		return errors.Join(linkRepo(ctx, older, repo), commitNext(ctx, repo))
	case strings.HasSuffix(name, pushed):
		return b.pushAll(ctx, older, repo)
	}
	mode := "archive"
	if name == "large-bare" {
		mode = "bare-user"
	}
	if err := ostree(ctx, repo, "init", "--mode="+mode); err != nil {
		return err
	}
	if isLarge(name) {
		return commitTree(ctx, repo, tree{files: 1, min: b.opts.size, max: b.opts.size}, 0)
	}
	if set, ok := refSets(b.opts.small)[name]; ok {
		return generateRefs(ctx, repo, set)
	}
	return commitTree(ctx, repo, trees(b.opts.small)[name], 0)
}

// commitTree commits the files of a tree, always the same ones. In a later
// generation, which is a day younger, each hundredth file is another.
func commitTree(ctx context.Context, repo string, t tree, generation int) error {
	return commitTar(ctx, repo, generation, func(w io.Writer) error { return writeTree(w, t, generation) })
}

// commitTar commits what is written as a tar archive, on top of other trees if options say so. It goes
// through a pipe, so that there is no second copy on the disk.
func commitTar(ctx context.Context, repo string, generation int, write func(io.Writer) error, options ...string) error {
	date := time.Date(2024, 1, 1+generation, 0, 0, 0, 0, time.UTC)
	args := slices.Concat([]string{"commit", "--repo=" + repo, "--branch=" + ref, "--subject=Benchmark",
		"--fsync=false", "--no-xattrs", "--timestamp=" + date.Format(time.RFC3339)}, options, []string{"--tree=tar=-"})
	cmd := exec.CommandContext(ctx, "ostree", args...)
	read, w := io.Pipe()
	go func() { w.CloseWithError(write(w)) }()
	defer read.Close() // ends who writes, whatever becomes of the command
	cmd.Stdin = read
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ostree commit: %w: %s", err, out)
	}
	return nil
}

// writeTree writes the files of a tree as a tar archive.
func writeTree(w io.Writer, t tree, generation int) error {
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
	archive := newArchive(w)
	for _, dir := range dirs {
		archive.dir(dir)
	}
	for i := range t.files {
		size, content := fileContent(t, i, generation)
		archive.file(fmt.Sprintf("%s/file-%05d", dirs[i%len(dirs)], i), size, content)
	}
	return archive.close()
}

// An archive is one of tar, and the first error that there was.
type archive struct {
	tar *tar.Writer
	err error
}

func newArchive(w io.Writer) *archive { return &archive{tar: tar.NewWriter(w)} }

func (a *archive) dir(name string) {
	a.header(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755})
}

func (a *archive) file(name string, size int64, content io.Reader) {
	a.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size})
	if a.err == nil {
		_, a.err = io.CopyN(a.tar, content, size)
	}
}

// link gives a file that was written one more name.
func (a *archive) link(name, file string) {
	a.header(&tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: file, Mode: 0o644})
}

func (a *archive) header(h *tar.Header) {
	if a.err == nil {
		a.err = a.tar.WriteHeader(h)
	}
}

func (a *archive) close() error {
	if a.err == nil {
		a.err = a.tar.Close()
	}
	return a.err
}

// fileContent returns how long a file is, and where its content begins.
func fileContent(t tree, i, generation int) (int64, io.Reader) {
	if i%100 != 0 {
		generation = 0
	}
	source := noise(i, t.files, generation)
	size := t.min
	if t.max > t.min {
		size += rand.New(source).IntN(t.max - t.min)
	}
	return int64(size), source
}

// noise returns bytes without an end, always the same ones for the same numbers.
func noise(numbers ...int) *rand.ChaCha8 {
	var seed [32]byte
	for i, n := range numbers {
		binary.LittleEndian.PutUint64(seed[8*i:], uint64(n))
	}
	return rand.NewChaCha8(seed)
}

func inspect(ctx context.Context, repo string) (dataset, error) {
	set := dataset{repo: repo}
	var err error
	if set.objects, err = listObjects(repo); err != nil {
		return dataset{}, err
	}
	if set.refs, err = countRefs(repo); err != nil {
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
func copyRepo(ctx context.Context, from, to string) error { return cp(ctx, "-a", from, to) }

// linkRepo copies a repository whose files are no others: libostree replaces those that it changes.
// On another file system they are.
func linkRepo(ctx context.Context, from, to string) error {
	if cp(ctx, "-al", from, to) == nil {
		return nil
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return copyRepo(ctx, from, to)
}

func cp(ctx context.Context, how, from, to string) error {
	out, err := exec.CommandContext(ctx, "cp", how, from, to).CombinedOutput()
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
