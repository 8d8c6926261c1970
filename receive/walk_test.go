package receive

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/ostree"
	"ostree-push/receive/config"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
)

// BenchmarkWalk measures what it takes the receiver to look through all that a commit consists of, by the
// number of objects: when the target has them all, before the lock is taken and under it, and when they all
// have just arrived. (`make bench-walk`)
func BenchmarkWalk(b *testing.B) {
	for _, objects := range []int{15_000, 1_000_000} {
		b.Run(strconv.Itoa(objects), func(b *testing.B) {
			if testing.Short() && objects > 100_000 {
				b.Skip("it takes minutes to make them")
			}
			benchmarkWalk(b, objects)
		})
	}
}

func benchmarkWalk(b *testing.B, objects int) {
	dir := b.TempDir()
	full, empty := filepath.Join(dir, "full"), filepath.Join(dir, "empty")
	commit := commitObjects(b, full, objects)

	r, q := receiverInto(b, full)
	missing := func(ctx context.Context, r *receiver, q *quarantine.Quarantine) error {
		found, err := r.missing(ctx, q, []ostree.Checksum{commit})
		if err == nil && len(found) > 0 {
			err = fmt.Errorf("%d objects are missing", len(found))
		}
		return err
	}
	b.Run("had", func(b *testing.B) {
		measureWalk(b, func() error { return missing(b.Context(), r, q) })
	})
	b.Run("import-had", func(b *testing.B) {
		tx, err := r.target.Begin(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		defer tx.Abort()
		measureWalk(b, func() error { return r.importObjects(b.Context(), tx, q, []ostree.Checksum{commit}) })
	})

	runOSTree(b, nil, "init", "--repo="+empty, "--mode=archive")
	r, q = receiverInto(b, empty)
	moveObjects(b, full, q.Dir().Name())
	b.Run("arrived", func(b *testing.B) {
		measureWalk(b, func() error { return missing(b.Context(), r, q) })
	})
}

// measureWalk times walks, and reports the time of all processors, and by how much they let the process grow, in MB.
func measureWalk(b *testing.B, walk func() error) {
	if err := walk(); err != nil { // so that nothing is read from the disk
		b.Fatal(err)
	}
	before, start := resetPeak(b), processorTime(b)
	for b.Loop() {
		if err := walk(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((processorTime(b)-start).Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(memory(b, "VmHWM")-before)/1e6, "MB")
}

// processorTime returns what the process has had of all processors.
func processorTime(b *testing.B) time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// resetPeak has the kernel forget what the process took at most, and returns what it takes now.
func resetPeak(b *testing.B) int64 {
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
	return memory(b, "VmRSS")
}

// memory returns a line of /proc/self/status, in bytes.
func memory(b *testing.B, key string) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), key+":")
	value, _, _ := strings.Cut(rest, " kB")
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n << 10
}

// receiverInto returns a receiver into a repository, with its quarantine.
func receiverInto(b *testing.B, repo string) (*receiver, *quarantine.Quarantine) {
	target, err := ostree.Open(repo)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { target.Close() })
	q, err := quarantine.New(target)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(q.Remove)
	return &receiver{session: &session{config: &config.Config{}}, sink: report.NewText(io.Discard, "", report.Warning), target: target}, q
}

// commitObjects makes an archive repository with a commit of that many objects: tiny files, a
// hundred in a directory.
func commitObjects(b *testing.B, repo string, objects int) ostree.Checksum {
	const perDir = 100
	runOSTree(b, nil, "init", "--repo="+repo, "--mode=archive")
	read, write := io.Pipe()
	dirs := (objects - 3) / (perDir + 1) // but for the commit, the upper tree, and the one dirmeta
	go func() { write.CloseWithError(writeFiles(write, dirs, objects-3-dirs)) }()
	defer read.Close()
	sum, err := ostree.ParseChecksum(runOSTree(b, read, "commit", "--repo="+repo, "--branch=walk", "--fsync=false",
		"--no-xattrs", "--tree=tar=-"))
	if err != nil {
		b.Fatal(err)
	}
	return sum
}

// writeFiles writes different files, spread over directories, as a tar archive.
func writeFiles(w io.Writer, dirs, files int) error {
	archive := tar.NewWriter(w)
	for dir := -1; dir < dirs; dir++ {
		name := "./"
		if dir >= 0 {
			name = fmt.Sprintf("./%05d/", dir)
		}
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}); err != nil {
			return err
		}
	}
	for file := range files {
		content := strconv.Itoa(file)
		header := &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("./%05d/%s", file%dirs, content), Mode: 0o644, Size: int64(len(content))}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.WriteString(archive, content); err != nil {
			return err
		}
	}
	return archive.Close()
}

// moveObjects moves all objects of a repository to another one.
func moveObjects(b *testing.B, from, to string) {
	dirs, err := os.ReadDir(filepath.Join(from, "objects"))
	if err != nil {
		b.Fatal(err)
	}
	for _, dir := range dirs {
		below := filepath.Join("objects", dir.Name())
		if err := os.Rename(filepath.Join(from, below), filepath.Join(to, below)); err != nil {
			b.Fatal(err)
		}
	}
}

func runOSTree(b *testing.B, stdin io.Reader, args ...string) string {
	cmd := exec.CommandContext(b.Context(), "ostree", args...)
	cmd.Stdin, cmd.Stderr = stdin, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("ostree %s: %v", args[0], err)
	}
	return strings.TrimSpace(string(out))
}
