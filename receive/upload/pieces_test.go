package upload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ostree-push/internal/otrepo"
	"ostree-push/internal/patience"
	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
	"ostree-push/stream"
)

// What has been stored takes no memory any more: there may be a great many large objects.
func TestStoredPieces(t *testing.T) {
	dir, tree := filepath.Join(t.TempDir(), "repo"), t.TempDir()
	missing := map[ostree.ObjectName]struct{}{}
	err := otrepo.Init(dir, "archive")
	for i := range 3 {
		name := fmt.Sprint(i)
		content := make([]byte, 100_000)
		rand.NewChaCha8([32]byte{byte(i)}).Read(content)
		err = errors.Join(err, os.WriteFile(filepath.Join(tree, name), content, 0o644))
	}
	if err == nil {
		_, err = otrepo.Commit{Ref: "main", Dir: tree}.Write(dir)
	}
	target := filepath.Join(t.TempDir(), "target")
	if err := errors.Join(err, otrepo.Init(target, "archive")); err != nil {
		t.Fatal(err)
	}
	repo, err := ostree.Open(target)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	q, err := quarantine.New(repo)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Remove()
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "objects/??/*.filez"))
	var pieces []stream.Data
	var bodies [][]byte
	for _, file := range files {
		hex := filepath.Base(filepath.Dir(file)) + strings.TrimSuffix(filepath.Base(file), ".filez")
		sum, err := ostree.ParseChecksum(hex)
		data, readErr := os.ReadFile(file)
		if err := errors.Join(err, readErr); err != nil {
			t.Fatal(err)
		}
		e := ostree.ObjectName{Type: ostree.ObjectFile, Sum: sum}
		missing[e] = struct{}{}
		// An end of its own makes two pieces of it.
		size := int64(len(data))
		pieces = append(pieces, stream.Data{ObjectName: e, Offset: size, Last: true}, stream.Data{ObjectName: e, Length: size})
		bodies = append(bodies, nil, data)
	}
	go func() {
		conn := stream.New(stream.Pusher, nil, to)
		for i, piece := range pieces {
			conn.SendData(piece, bytes.NewReader(bodies[i]))
		}
		conn.End(stream.Data{})
		to.Close()
	}()
	in := newIntake(t.Context(), q, report.NewEvents(io.Discard, report.Debug), missing, nil)
	reader := patience.NewReader(t.Context(), from, time.Minute)
	in.enter(&channel{reader, stream.New(stream.Receiver, reader, io.Discard).After(stream.Join{})}, func() {})
	if err := in.finish(); err != nil {
		t.Fatal(err)
	}
	if come := in.meter.Now().Done; come != 3 || len(in.pieces.parts) > 0 {
		t.Errorf("%d have come, and %d parts are left", come, len(in.pieces.parts))
	}
}
