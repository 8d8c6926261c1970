package quarantine

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// flusher has what arrives written to the disk while more arrives, so that little is left
// for the transaction, which syncs the whole file system before it commits.
type flusher struct {
	off     bool // the repository is not synced
	bytes   atomic.Int64
	running atomic.Bool
	done    sync.WaitGroup
}

// flushStep is how much may be left to be written, in bytes, when all has arrived.
const flushStep = 16 << 20

// wrote counts what has been written below a directory that is open.
func (f *flusher) wrote(bytes int64, dir int) {
	if f.off || f.bytes.Add(bytes) < flushStep || !f.running.CompareAndSwap(false, true) {
		return
	}
	f.bytes.Store(0)
	f.sync(dir, func() { f.running.Store(false) })
}

// start has all that is there written, as far as that is not under way.
func (f *flusher) start(dir int) {
	if !f.off {
		f.sync(dir, func() {})
	}
}

func (f *flusher) sync(dir int, synced func()) {
	f.done.Add(1)
	go func() {
		defer f.done.Done()
		defer synced()
		unix.Syncfs(dir) // should it fail, the transaction's fails too
	}()
}

// wait waits until the directory is not needed any more.
func (f *flusher) wait() { f.done.Wait() }
