package client0_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ostree-push/internal/client0"
	"ostree-push/internal/otrepo"
	"ostree-push/ostree"
)

// receiver is the Python program of Debian's package "ostree-push".
type receiver struct {
	root    string // what it takes for the root of the file system
	command []string
}

// findReceiver skips the test where there is none. Debian 12 has none; that of
// Debian 13 can be below the directory $OSTREE_RECEIVE_0_ROOT, which has a
// whole system to chroot into.
func findReceiver(t *testing.T) receiver {
	const path = "/usr/bin/ostree-receive-0"
	r := receiver{command: []string{path}}
	if root := os.Getenv("OSTREE_RECEIVE_0_ROOT"); root != "" {
		r = receiver{root, []string{"chroot", root, path}}
	}
	program, err := os.ReadFile(filepath.Join(r.root, path))
	firstLine, _, _ := bytes.Cut(program, []byte("\n"))
	if err != nil || !bytes.Contains(firstLine, []byte("python")) {
		t.Skipf("%s%s is not the Python program", r.root, path)
	}
	return r
}

// newRepo makes an empty repository that the receiver can see, and returns the
// command that receives into it.
func (r receiver) newRepo(t *testing.T) (path string, command []string) {
	dir := t.TempDir()
	if r.root != "" {
		var err error
		if dir, err = os.MkdirTemp(filepath.Join(r.root, "tmp"), "client0-"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	path = filepath.Join(dir, "remote")
	if err := otrepo.Init(path, "archive"); err != nil {
		t.Fatal(err)
	}
	return path, append(r.command[:len(r.command):len(r.command)], "--repo="+strings.TrimPrefix(path, r.root))
}

// commit commits a tree with that content, and returns the commit's checksum.
func commit(t *testing.T, repo, ref, content string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"file": content, "same": "same", "sub/empty": "", "sub/with a\tblank": content + "!",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("file", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	sum, err := otrepo.Commit{Ref: ref, Dir: dir, Subject: content}.Write(repo)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func refs(t *testing.T, path string) map[string]string {
	t.Helper()
	repo, err := ostree.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	list, err := repo.Refs(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for ref, sum := range list {
		m[string(ref)] = sum.String()
	}
	return m
}

// checkRefs checks what a repository has, and that it is sound.
func checkRefs(t *testing.T, path string, want map[string]string) {
	t.Helper()
	if got := refs(t, path); !maps.Equal(got, want) {
		t.Errorf("refs are %v, want %v", got, want)
	}
	if out, err := exec.Command("ostree", "--repo="+path, "fsck").CombinedOutput(); err != nil {
		t.Errorf("fsck: %v\n%s", err, out)
	}
}

func TestPush(t *testing.T) {
	receiver := findReceiver(t)
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		t.Run(order.String(), func(t *testing.T) {
			local := filepath.Join(t.TempDir(), "local")
			if err := otrepo.Init(local, "archive"); err != nil {
				t.Fatal(err)
			}
			remote, command := receiver.newRepo(t)
			var stderr strings.Builder
			var trace []string
			client := client0.Client{
				Repo: local, Order: order, Command: command, Stderr: &stderr,
				Trace: func(sent bool, m client0.Message) {
					trace = append(trace, fmt.Sprint(sent, m.Command))
				},
			}
			push := func() error {
				stderr.Reset()
				trace = nil
				return client.Push(t.Context())
			}

			first := commit(t, local, "a/main", "one")
			second := commit(t, local, "a/main", "two")
			other := commit(t, local, "other", "other")
			commit(t, local, "third", "three")
			client.Refs = []string{"a/main", "other"}
			if err := push(); err != nil {
				t.Fatalf("two refs: %v\n%s", err, &stderr)
			}
			checkRefs(t, remote, map[string]string{"a/main": second, "other": other})

			commit(t, local, "a/main", "not the newest")
			commit(t, local, "a/main", "one")
			detached := exec.Command("ostree", "--repo="+local, "commit", "--branch=a/main", "--tree=ref=a/main",
				"--add-detached-metadata-string=key=value")
			out, err := detached.Output()
			if err != nil {
				t.Fatal(err)
			}
			newest := strings.TrimSpace(string(out))
			if err := push(); err != nil {
				t.Fatalf("an update: %v\n%s", err, &stderr)
			}
			checkRefs(t, remote, map[string]string{"a/main": newest, "other": other})
			if _, err := os.Stat(filepath.Join(remote, "objects", newest[:2], newest[2:]+".commitmeta")); err != nil {
				t.Error(err)
			}

			if err := push(); err != nil {
				t.Fatalf("nothing to do: %v\n%s", err, &stderr)
			}
			if want := []string{"false 0", "true 4"}; !reflect.DeepEqual(trace, want) {
				t.Errorf("nothing to do: the messages are %v, want %v", trace, want)
			}

			commit(t, local, "a/main", "three")
			client.Old = first
			err = push()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 ||
				!strings.Contains(err.Error(), "Branch a/main is at "+newest+", not "+first) {
				t.Errorf("a false old commit: %v\n%s", err, &stderr)
			}
			if stderr.Len() > 0 {
				t.Errorf("a false old commit: %s", &stderr)
			}
			client.Refs = []string{"third"}
			if err := push(); err == nil ||
				!strings.Contains(err.Error(), "Invalid from commit "+first+" for new branch third") {
				t.Errorf("an old commit of a new ref: %v", err)
			}
			checkRefs(t, remote, map[string]string{"a/main": newest, "other": other})

			client.Old, client.Truncate = "", true
			if err := push(); !errors.As(err, &exit) {
				t.Errorf("half an object: %v", err)
			}
			checkRefs(t, remote, map[string]string{"a/main": newest, "other": other})
		})
	}
}

func TestMessage(t *testing.T) {
	for order, want := range map[binary.ByteOrder]string{
		binary.LittleEndian: "l\x00\x03\x0d\x00k\x00\x00\x00\x00\x00\x00\x00\x01\x00b\x02\x0c",
		binary.BigEndian:    "B\x00\x03\x00\x0dk\x00\x00\x00\x00\x00\x00\x00\x01\x00b\x02\x0c",
	} {
		m := client0.Message{Order: order, Command: client0.Status, Args: ostree.Vardict{"k": true}}
		var b bytes.Buffer
		if err := client0.WriteMessage(&b, m); err != nil || b.String() != want {
			t.Errorf("%v: written as %q, %v, want %q", order, b.String(), err, want)
		}
		got, err := client0.ReadMessage(strings.NewReader(want))
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%v: read as %v, %v", order, got, err)
		}
		for n := range want {
			end := io.ErrUnexpectedEOF
			if n == 0 {
				end = io.EOF
			}
			if _, err := client0.ReadMessage(strings.NewReader(want[:n])); err != end {
				t.Errorf("%v: %d bytes: %v", order, n, err)
			}
		}
	}
	for text, want := range map[string]string{
		"x\x00\x04\x00\x00":             "message has the byte order 'x'",
		"l\x01\x04\x00\x00":             "message has the version 1",
		"l\x00\x04\x03\x00\xff\xff\xff": "message with command 4: arguments are not a valid a{sv}",
	} {
		if _, err := client0.ReadMessage(strings.NewReader(text)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
