package receive

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestHangup(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	ctx, stop := watchHangup(t.Context(), null, file, write)
	defer stop()
	if ctx.Err() != nil {
		t.Fatalf("hung up already: %v", context.Cause(ctx))
	}
	read.Close()
	<-ctx.Done() // or the test times out
	if err := context.Cause(ctx); !errors.Is(err, errHangup) {
		t.Errorf("cause is %v", err)
	}
}

// TestNoHangup stops the watch, which waits for its goroutine.
func TestNoHangup(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	ctx, stop := watchHangup(t.Context(), write)
	stop()
	if err := context.Cause(ctx); errors.Is(err, errHangup) {
		t.Errorf("cause is %v", err)
	}
}
