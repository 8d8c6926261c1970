package receive

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ostree-push/internal/otrepo"
	"ostree-push/internal/patience"
	"ostree-push/ostree"
)

func TestSpeaksProto0(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want bool
	}{
		{"ostree-receive-0", nil, true},
		{"ostree-receive-1", []string{"--repo=x"}, false},
		{"ostree-receive", []string{"--repo=x"}, true},
		{"ostree-receive", []string{"--repo", "x"}, true},
		{"ostree-receive", []string{"-v", "--repo=x"}, true},
		{"ostree-receive", []string{"repo", "http://127.0.0.1:1"}, false},
	} {
		if got := speaksProto0(test.name, test.args); got != test.want {
			t.Errorf("%s %q: %v", test.name, test.args, got)
		}
	}
}

// message is one of a client.
func message(t testing.TB, order byte, command proto0Command, args ostree.Vardict) []byte {
	t.Helper()
	o := proto0Orders[order]
	body, err := args.Encode(o, proto0MaxArgs)
	if err != nil {
		t.Fatal(err)
	}
	m := []byte{order, 0, byte(command), 0, 0}
	o.PutUint16(m[3:], uint16(len(body)))
	return append(m, body...)
}

// wireOf returns a wire on which input comes.
func wireOf(t testing.TB, input []byte, timeout time.Duration) *proto0Wire {
	return newProto0Wire(context.Background(), inputFile(t, input), io.Discard, timeout)
}

// inputFile returns a file to read input from.
func inputFile(t testing.TB, input []byte) *os.File {
	t.Helper()
	file := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(file, input, 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	return in
}

func TestProto0Wire(t *testing.T) {
	args := ostree.Vardict{"object": "x", "size": uint64(7)}
	for _, order := range []byte{'l', 'B'} {
		whole := message(t, order, proto0PutObject, args)
		command, got, err := wireOf(t, whole, time.Minute).read()
		if err != nil || command != proto0PutObject || got["object"] != "x" || got["size"] != uint64(7) {
			t.Errorf("%c: %d %v %v", order, command, got, err)
		}
		for n := range whole {
			if _, _, err := wireOf(t, whole[:n], time.Minute).read(); !errors.Is(err, errClientGone) {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
	}
	for _, bad := range []string{"x\x00\x01\x00\x00", "l\x01\x01\x00\x00", "SSH-2.0-x"} {
		if _, _, err := wireOf(t, []byte(bad), time.Minute).read(); err == nil || !strings.Contains(err.Error(), "is not protocol 0") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A client that connects and says nothing is not waited for without end, nor one
// whose connection is lost.
func TestProto0WireStalls(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := w.Write([]byte{'l'}); err != nil {
		t.Fatal(err)
	}
	wire := newProto0Wire(context.Background(), r, io.Discard, 300*time.Millisecond)
	if _, _, err := wire.read(); !errors.Is(err, patience.ErrStalls) {
		t.Errorf("%v", err)
	}
	lost := errors.New("lost")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(lost)
	wire = newProto0Wire(ctx, r, io.Discard, time.Minute)
	if _, _, err := wire.read(); !errors.Is(err, lost) {
		t.Errorf("%v", err)
	}
}

func TestParseUpdates(t *testing.T) {
	zero, one := strings.Repeat("0", 64), strings.Repeat("1", 64)
	got, err := parseUpdates(ostree.Vardict{"b": [2]string{one, one}, "a/b": [2]string{zero, one}})
	if err != nil || len(got) != 2 || got[0].ref != "a/b" || !got[0].old.IsZero() || got[1].old.String() != one {
		t.Errorf("%v, %v", got, err)
	}
	for name, args := range map[string]ostree.Vardict{
		"a ref above":   {"../x": [2]string{zero, one}},
		"an option":     {"-x": [2]string{zero, one}},
		"no pair":       {"a": one},
		"no checksum":   {"a": [2]string{zero, "x"}},
		"no old":        {"a": [2]string{"", one}},
		"a deleted ref": {"a": [2]string{one, zero}},
	} {
		if got, err := parseUpdates(args); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Whatever a client sends, the receiver ends, and writes nowhere but into the
// repository; and there nothing but what libostree has checked.
func FuzzProto0(f *testing.F) {
	if _, err := exec.LookPath("ostree"); err != nil {
		f.Skip(err)
	}
	sum := strings.Repeat("12", 32)
	update := message(f, 'l', proto0UpdateRefs, ostree.Vardict{"main": [2]string{strings.Repeat("0", 64), sum}})
	put := func(name string, size uint64, content string) []byte {
		return append(message(f, 'B', proto0PutObject, ostree.Vardict{"object": name, "size": size}), content...)
	}
	done := message(f, 'l', proto0Done, ostree.Vardict{})
	f.Add(done)
	f.Add(bytes.Join([][]byte{update, put(sum+".commit", 5, "hello"), done}, nil))
	f.Add(bytes.Join([][]byte{update, put(sum+".filez", 1<<60, "hello"), done}, nil))
	f.Add(bytes.Join([][]byte{update, put("../../x", 5, "hello"), done}, nil))
	f.Add(binary.LittleEndian.AppendUint32([]byte("l"), 0xffffffff))

	limits, files := fuzzed(f)
	before := files(f)
	null := devNull(f)
	f.Fuzz(func(t *testing.T, input []byte) {
		err := (&proto0Line{Repo: "repo"}).run(context.Background(), process{limits, "fuzz", inputFile(t, input), null, null})
		if after := files(t); after != before {
			t.Errorf("%v, and the files were\n%s and are\n%s", err, before, after)
		}
	})
}

// fuzzed makes a repository, and returns the limits with which it is "repo", and a function
// that lists the files in it.
func fuzzed(f *testing.F) (limits Limits, files func(testing.TB) string) {
	dir := f.TempDir()
	if err := otrepo.Init(filepath.Join(dir, "repo"), "archive"); err != nil {
		f.Fatal(err)
	}
	config := filepath.Join(f.TempDir(), "config.toml")
	if err := os.WriteFile(config, []byte("timeout = 1\n"), 0o600); err != nil {
		f.Fatal(err)
	}
	return Limits{Config: config, Root: dir}, func(t testing.TB) string {
		var all strings.Builder
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			// libostree makes directories for objects, and locks, as it likes.
			if err == nil && !entry.IsDir() && !strings.HasSuffix(path, "lock") {
				fmt.Fprintln(&all, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all.String()
	}
}

func devNull(f *testing.F) *os.File {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { null.Close() })
	return null
}
