package quarantine

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"ostree-push/internal/otrepo"
	"ostree-push/internal/ranges"
	"ostree-push/ostree"
)

// An object that has to be in memory as a whole waits until no other one is.
func TestOneInMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "target")
	if err := otrepo.Init(dir, "archive"); err != nil {
		t.Fatal(err)
	}
	target, err := ostree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	q, err := New(target)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Remove()
	p, err := q.NewPieces(ostree.ObjectName{Type: ostree.ObjectDirTree}, [16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Drop()
	r := ranges.Range{End: 1}
	if err := p.Claim(r, p.form, true); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Writer(r).Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	q.inMemory.Lock()
	checked := make(chan error, 1)
	go func() { checked <- p.Check(t.Context()) }()
	for !waitsForMemory() {
		select {
		case err := <-checked:
			t.Fatalf("it is checked meanwhile: %v", err)
		default:
			runtime.Gosched()
		}
	}
	q.inMemory.Unlock()
	if err := <-checked; !IsFault(err) {
		t.Errorf("a byte is a tree: %v", err)
	}
}

// waitsForMemory reports whether a goroutine waits for a mutex in the check of an object.
func waitsForMemory() bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, stack := range strings.Split(string(stacks), "\n\n") {
		if strings.Contains(stack, "sync.(*Mutex).Lock") && strings.Contains(stack, "(*Pieces).check(") {
			return true
		}
	}
	return false
}
