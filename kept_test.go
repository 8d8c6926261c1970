package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestWaitsForPrune has a prune, which holds libostree's own lock, take longer than libostree would
// wait for it. A push waits as long as for another push, and succeeds.
func TestWaitsForPrune(t *testing.T) {
	base := newStatesBase(t)
	for _, transport := range []string{"stream", "tunnel"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			w := base.copied(t)
			w.transport = transport
			output(t, "ostree", "--repo="+w.target, "config", "set", "core.lock-timeout-secs", "1")
			// Something to remove, so that there is a moment.
			output(t, "ostree", "--repo="+w.target, "commit", "--branch=other", "--tree=ref=main")
			output(t, "ostree", "--repo="+w.target, "refs", "--delete", "other")
			m := moment{
				library: base.library, call: "unlinkat", dir: filepath.Join(w.target, "objects"), number: 1,
				gate: filepath.Join(t.TempDir(), "gate"),
			}
			var said lockedBuffer
			pushed := make(chan error, 1)
			m.meanwhile(t, func() {
				if m.killed(t, "ostree", "--repo="+w.target, "prune", "--refs-only") {
					t.Error("the prune was killed")
				}
			}, func() {
				cmd := w.pushCommand(t.Context(), nil, "main")
				cmd.Stderr = &said
				if err := cmd.Start(); err != nil {
					t.Error(err)
				}
				go func() { pushed <- cmd.Wait() }()
				if err, ended := said.waitsOr(pushed); ended {
					t.Errorf("the push does not wait: %v", err)
					pushed <- err
				}
			})
			if err := <-pushed; err != nil {
				t.Errorf("%v\n%s", err, said.String())
			}
			w.checkPulled(t, "main")
		})
	}
}

// TestLockIsKnownBefore has the lock be one that nobody can take: a directory, as a restored backup or a mistake
// may have it. Nothing of the push travels.
func TestLockIsKnownBefore(t *testing.T) {
	base := newStatesBase(t)
	for _, transport := range []string{"stream", "tunnel"} {
		for _, name := range []string{".lock", ".ostree-receive.lock"} {
			t.Run(name+"/"+transport, func(t *testing.T) {
				t.Parallel()
				w := base.copied(t)
				w.transport = transport
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
				said.checkReason(t, regexp.QuoteMeta(name), transport)
				if said.result.Objects > 0 {
					t.Errorf("%d objects have travelled", said.result.Objects)
				}
				if refFiles(t, w.target)["heads/main"] != before["heads/main"] {
					t.Error("the ref has moved")
				}
			})
		}
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
