package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/internal/link"
	"ostree-push/internal/otrepo"
	"ostree-push/report"
	"ostree-push/stream"
)

// slack is how much of what has arrived of a large object may be sent again, in bytes.
const slack = 8 << 20

// largeTest pushes a commit of one large file to a remote.
type largeTest struct {
	*killTest
	size int64 // that the object has on the wire
}

// newLargeTest makes a repository of a mode that has the file, and a remote at the other end of a link.
func newLargeTest(t *testing.T, mode string, size int, l link.Link) *largeTest {
	t.Helper()
	k := &killTest{local: filepath.Join(t.TempDir(), "local"), template: filepath.Join(t.TempDir(), "template")}
	_, err := otrepo.Large(k.local, mode, size)
	if err := errors.Join(err, otrepo.Init(k.template, "archive")); err != nil {
		t.Fatal(err)
	}
	k.after = history(t, k.local, "main")[0].content
	k.remote = newSSHRemote(t)
	k.port = k.remote.linkTo(t, l)
	k.reset(t)
	return &largeTest{k, int64(size)}
}

// push pushes, and returns how many bytes were sent.
func (k *largeTest) push(t *testing.T) int64 {
	t.Helper()
	cmd := k.command(t)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var result report.Result
	if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
		t.Fatal(err)
	}
	output(t, "ostree", "--repo="+k.remote.repo, "fsck", "-q")
	if now := history(t, k.remote.repo, "main"); now[0].content != k.after || len(now) != 1 {
		t.Errorf("the history is %v", now)
	}
	if left, _ := filepath.Glob(filepath.Join(k.remote.repo, "tmp/ostree-receive-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	return result.Totals.Bytes
}

// parts returns the files of the objects of which a part is there.
func (k *largeTest) parts(t *testing.T) []string {
	t.Helper()
	parts, err := filepath.Glob(filepath.Join(k.remote.repo, "tmp/ostree-receive-*/pieces/*.filez"))
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

// arrived returns how many bytes of the object have come, as far as files have them.
func (k *largeTest) arrived(t *testing.T) (n int64) {
	t.Helper()
	for _, part := range k.parts(t) {
		var stat unix.Stat_t
		if err := unix.Stat(part, &stat); err != nil {
			t.Fatal(err)
		}
		n += stat.Blocks * 512
	}
	return n
}

// TestKillLarge kills one of the processes of a push with SIGKILL in the middle of a large object, at 20 random moments each. What had
// arrived, less 8 MB, is not sent again, whether the object is sent as it is stored or compressed meanwhile.
func TestKillLarge(t *testing.T) {
	t.Parallel()
	moments := killMoments()
	for victim, mode := range map[string]string{"ostree-push": "archive", "ssh": "bare-user", "ostree-receive-1": "archive"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			k := newLargeTest(t, mode, 20<<20, link.Link{RTT: 20 * time.Millisecond, Rate: 400_000_000})
			start := time.Now()
			whole := k.push(t)
			k.duration = time.Since(start)
			var resumed, most int64
			for i := range moments {
				k.reset(t)
				moment := time.Duration(rand.Int64N(int64(k.duration)))
				k.pushAndKill(t, victim, moment)
				arrived := k.arrived(t)
				if _, err := os.Stat(filepath.Join(k.remote.repo, "refs/heads/main")); err == nil {
					continue // it was too late
				}
				output(t, "ostree", "--repo="+k.remote.repo, "fsck", "-q")
				sent := k.push(t)
				t.Logf("%d: after %v, %d bytes had arrived, %d were sent again", i, moment, arrived, sent+arrived-whole)
				if sent > whole-arrived+slack {
					t.Errorf("%d had arrived of %d, and %d are sent", arrived, whole, sent)
				}
				most = max(most, whole-sent)
				if sent < whole {
					resumed++
				}
				if t.Failed() {
					return
				}
			}
			t.Logf("%d times a part was not sent again, at most %d bytes", resumed, most)
		})
	}
}

// interrupt has a push killed when about half of the object has arrived.
func (k *largeTest) interrupt(t *testing.T) {
	t.Helper()
	cmd := k.command(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for k.arrived(t) < k.size/2 {
		<-ticker.C // the context of the command ends it
	}
	cmd.Process.Kill()
	cmd.Wait()
	k.remote.waitForProcesses(t)
}

// TestResumeLarge changes what an interrupted push has left of a large object. What comes of the next push is right in any case.
func TestResumeLarge(t *testing.T) {
	t.Parallel()
	const size = 24 << 20
	truncateNote := func(n int64) func(*largeTest, string) error {
		return func(_ *largeTest, part string) error { return os.Truncate(part+".note", n) }
	}
	for _, test := range []struct {
		name string
		// harm is done to what is left, of which that is the file.
		harm func(k *largeTest, part string) error
		// How much is sent, in bytes.
		least, most int64
	}{
		{"as it was", func(*largeTest, string) error { return nil }, 0, size/2 + slack},
		{"damaged", func(_ *largeTest, part string) error {
			f, err := os.OpenFile(part, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt([]byte("damage"), size/4)
				err = errors.Join(err, f.Close())
			}
			return err
		}, size, 2*size + 1<<20},
		{"cut short", func(_ *largeTest, part string) error { return os.Truncate(part, size/4) }, size * 3 / 4, size + 1<<20},
		{"longer", func(_ *largeTest, part string) error { return os.Truncate(part, 1<<40) }, 0, size/2 + slack},
		{"gone", func(_ *largeTest, part string) error { return os.Remove(part) }, size, size + 1<<20},
		{"without a note", func(_ *largeTest, part string) error { return os.Remove(part + ".note") }, size, size + 1<<20},
		{"an empty note", truncateNote(0), size, size + 1<<20},
		{"a note cut short", truncateNote(16 + 16 + 7), size / 4, size + 1<<20},
		{"a note of ranges that cannot be", func(_ *largeTest, part string) error {
			f, err := os.OpenFile(part+".note", os.O_WRONLY|os.O_APPEND, 0)
			if err == nil {
				_, err = f.Write(append(bytes.Repeat([]byte{0xff}, 32), make([]byte, 160)...))
				err = errors.Join(err, f.Close())
			}
			return err
		}, 0, size/2 + slack},
		{"a note that has what has not come", func(_ *largeTest, part string) error {
			old, err := os.ReadFile(part + ".note")
			if err == nil {
				note := append(old[:16:16], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0)
				err = errors.Join(os.Truncate(part, 16<<20), os.WriteFile(part+".note", note, 0o600))
			}
			return err
		}, size / 2, 2*size + 1<<20},
		{"a link to itself", func(_ *largeTest, part string) error {
			return errors.Join(os.Remove(part), os.Symlink(part, part))
		}, size, size + 1<<20},
		{"a pipe", func(_ *largeTest, part string) error { return errors.Join(os.Remove(part), unix.Mkfifo(part, 0o600)) }, size, size + 1<<20},
		// The pusher has the object in another encoding meanwhile, as another builder may have.
		{"another form", func(k *largeTest, _ string) error { return recompress(t, k.local) }, size, 2 * size},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			k := newLargeTest(t, "archive", size, link.Link{RTT: 20 * time.Millisecond, Rate: 200_000_000})
			k.interrupt(t)
			parts := k.parts(t)
			if len(parts) != 1 {
				t.Fatalf("left: %q", parts)
			}
			if err := test.harm(k, parts[0]); err != nil {
				t.Fatal(err)
			}
			if sent := k.push(t); sent < test.least || sent > test.most {
				t.Errorf("%d bytes are sent, and not %d to %d", sent, test.least, test.most)
			}
		})
	}
}

// recompress makes the large object of an archive repository anew from its content, with another encoder.
func recompress(t *testing.T, repo string) error {
	t.Helper()
	checkout := filepath.Join(t.TempDir(), "checkout")
	if said, err := exec.Command("ostree", "--repo="+repo, "checkout", "-U", "main", checkout).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := otrepo.Init(other, "archive"); err != nil {
		return err
	}
	output(t, "ostree", "--repo="+other, "config", "set", "archive.zlib-level", "1")
	if _, err := (otrepo.Commit{Ref: "main", Dir: checkout, Time: time.Unix(1_700_000_000, 0)}).Write(other); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(other, "objects/*/*.filez"))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("%q: %w", files, err)
	}
	to := filepath.Join(repo, strings.TrimPrefix(files[0], other))
	if _, err := os.Stat(to); err != nil {
		return err
	}
	return os.Rename(files[0], to)
}

// A large object of a bare repository is compressed while it is sent: nothing of it is in a file of the pusher's, which may not be
// larger than 1 MiB here.
func TestBareWithoutRoom(t *testing.T) {
	t.Parallel()
	k := newLargeTest(t, "bare-user", 24<<20, link.Link{RTT: 20 * time.Millisecond})
	cmd := k.command(t)
	limited := exec.Command("bash", append([]string{"-c", `ulimit -f 1024; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)...)
	limited.Env = cmd.Env
	if said, err := limited.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	output(t, "ostree", "--repo="+k.remote.repo, "fsck", "-q")
	if now := history(t, k.remote.repo, "main"); len(now) != 1 || now[0].content != k.after {
		t.Errorf("the history is %v", now)
	}
}

// A pusher that says that it is at work is waited for, and one that says nothing is not.
func TestBusyPusher(t *testing.T) {
	t.Parallel()
	for _, busy := range []bool{true, false} {
		t.Run(fmt.Sprint(busy), func(t *testing.T) {
			t.Parallel()
			v := newVictim(t)
			v.configure(t, "timeout = 1")
			p, wait := newRogue(t, newLyingSource(t), v)
			err := p.start()
			for start := time.Now(); err == nil && time.Since(start) < 3*time.Second; <-time.After(100 * time.Millisecond) {
				if busy {
					err = p.conn.Send(stream.Busy{})
				}
			}
			if busy {
				err = errors.Join(err, p.list(), p.putAll(nil))
			}
			stderr, waitErr := wait()
			if busy && (err != nil || waitErr != nil) {
				t.Errorf("%v, %v\n%s", err, waitErr, stderr)
			}
			if !busy && !strings.Contains(stderr, silence) {
				t.Errorf("%v\n%s", waitErr, stderr)
			}
		})
	}
}
