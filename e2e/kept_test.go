package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestWaitsForPrune has a prune, which holds libostree's own lock, take longer than libostree would
// wait for it. A push waits as long as for another push, and succeeds.
func TestWaitsForPrune(t *testing.T) {
	t.Parallel()
	newStatesBase(t).over(t, "prune", false, func(t *testing.T, w *world) {
		output(t, "ostree", "--repo="+w.target, "config", "set", "core.lock-timeout-secs", "1")
		// Something to remove, so that there is a moment.
		output(t, "ostree", "--repo="+w.target, "commit", "--branch=other", "--tree=ref=main")
		output(t, "ostree", "--repo="+w.target, "refs", "--delete", "other")
		m := moment{
			library: w.library, call: "unlinkat", dir: filepath.Join(w.target, "objects"), number: 1,
			gate: filepath.Join(t.TempDir(), "gate"),
		}
		var said lockedBuffer
		pushed := make(chan error, 1)
		m.meanwhile(t, func() {
			m.killed(t, "ostree", "--repo="+w.target, "prune", "--refs-only")
		}, func() {
			cmd := w.pushCommand(t.Context(), nil, "main")
			cmd.Stderr = &said
			go func() { pushed <- cmd.Run() }()
			if err, ended := said.waitsOr(pushed); ended {
				t.Errorf("the push does not wait: %v", err)
				pushed <- err
			}
		})
		if err := <-pushed; err != nil {
			t.Fatalf("%v\n%s", err, said.String())
		}
		w.checkPulled(t, "main")
	})
}

// TestLockIsKnownBefore has a lock that nobody can take: there is a directory, from somebody's
// mistake. Nothing of the push travels.
func TestLockIsKnownBefore(t *testing.T) {
	t.Parallel()
	base := newStatesBase(t)
	for _, name := range []string{".lock", ".ostree-receive.lock"} {
		base.over(t, name, false, func(t *testing.T, w *world) {
			path := filepath.Join(w.target, name)
			os.Remove(path)
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
			before := refFiles(t, w.target)
			said := w.push(t, "main")
			if said.err == nil {
				t.Fatal("the push succeeds")
			}
			said.checkReason(t, regexp.QuoteMeta(name), w.transport)
			if said.result.Objects > 0 {
				t.Errorf("%d objects have travelled", said.result.Objects)
			}
			if diff := cmp.Diff(before, refFiles(t, w.target)); diff != "" {
				t.Errorf("refs have moved:\n%s", diff)
			}
		})
	}
}

// lockedBuffer is what a command has written, while it runs.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// waitsOr returns when a push says that it waits, or has ended. It may wait in silence: longer
// than libostree would is enough.
func (l *lockedBuffer) waitsOr(pushed <-chan error) (err error, ended bool) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for patience := time.After(5 * time.Second); ; {
		select {
		case err := <-pushed:
			return err, true
		case <-patience:
			return nil, false
		case <-ticker.C:
			if strings.Contains(l.String(), "aiting") {
				return nil, false
			}
		}
	}
}
