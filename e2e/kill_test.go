package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
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
	"ostree-push/ostree"
	"ostree-push/report"
)

// TestKill kills one of the processes of a push with SIGKILL, at 20 random moments
// each. The remote's ref is what it was or what it should become, the repository is
// clean, and the next push completes it, with just the objects that had not
// arrived.
func TestKill(t *testing.T) {
	t.Parallel()
	moments := killMoments()
	local := newKillTest(t)
	for _, victim := range []string{"ostree-push", "ssh", "ostree-receive-1"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			k := local.withRemote(t)
			var early, resumed, late int
			for i := range moments {
				moment := time.Duration(rand.Int64N(int64(k.duration)))
				t.Logf("%d: after %v", i, moment)
				k.reset(t)
				k.pushAndKill(t, victim, moment)
				switch sent := k.pushAgain(t); {
				case sent == len(k.objects)+1:
					early++
				case sent == 1:
					late++
				default:
					resumed++
				}
				if t.Failed() {
					return
				}
			}
			t.Logf("the next push sent everything %d times, a part %d times, and nothing %d times", early, resumed, late)
		})
	}
}

// killMoments is how many moments of a push somebody is killed at.
func killMoments() int {
	if testing.Short() {
		return 3
	}
	return 20
}

type killTest struct {
	local    string // has the ref main of template, and what is new
	template string // what remote.repo is before a push
	before   string // the content of main in template
	after    string
	objects  map[ostree.ObjectName]bool // what is new, other than commits

	remote   *sshRemote
	port     int           // of the link to it
	duration time.Duration // of a push
}

func newKillTest(t *testing.T) *killTest {
	k := &killTest{local: filepath.Join(t.TempDir(), "local"), template: filepath.Join(t.TempDir(), "template")}
	for _, repo := range []string{k.local, k.template} {
		if err := otrepo.Init(repo, "archive"); err != nil {
			t.Fatal(err)
		}
	}
	commit := func(seed uint64, files int, at int64) string {
		c := otrepo.Commit{Ref: "main", Dir: randomTree(t, seed, files, 40_000), Time: time.Unix(at, 0)}
		if seed == 2 { // some that are checked in their files
			large := randomTree(t, 3, 3, 1_000_000)
			output(t, "cp", "-a", large, filepath.Join(c.Dir, "large"))
		}
		if _, err := c.Write(k.local); err != nil {
			t.Fatal(err)
		}
		return history(t, k.local, "main")[0].content
	}
	k.before = commit(1, 5, 1_700_000_000)
	output(t, "ostree", "--repo="+k.template, "pull-local", k.local, "main")
	k.after = commit(2, 300, 1_700_000_001)
	k.objects = objectsIn(t, k.local)
	for e := range objectsIn(t, k.template) {
		delete(k.objects, e)
	}
	return k
}

// withRemote returns the test with a remote of its own.
func (k killTest) withRemote(t *testing.T) *killTest {
	k.remote = newSSHRemote(t)
	// With a delay, so that several channels are used.
	k.port = k.remote.linkTo(t, link.Link{RTT: 20 * time.Millisecond})

	k.reset(t)
	start := time.Now()
	if err := k.command(t).Run(); err != nil {
		t.Fatal(err)
	}
	k.duration = time.Since(start)
	t.Logf("a push of %d objects takes %v", len(k.objects), k.duration)
	return &k
}

// objectsIn returns the objects below a directory that are what they should be, other than
// commits.
func objectsIn(t *testing.T, dir string) map[ostree.ObjectName]bool {
	t.Helper()
	types := map[string]ostree.ObjectType{
		".filez": ostree.ObjectFile, ".dirtree": ostree.ObjectDirTree, ".dirmeta": ostree.ObjectDirMeta,
	}
	found := map[ostree.ObjectName]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "pieces" {
			return filepath.SkipDir // of objects that may not be whole
		}
		kind, ok := types[filepath.Ext(path)]
		if err != nil || !ok {
			return err
		}
		sum := sumOf(t, strings.TrimPrefix(path, filepath.Dir(filepath.Dir(path))+"/"))
		content, err := os.ReadFile(path)
		if err == nil && ostree.CheckBytes(kind, sum, content) == nil {
			found[ostree.ObjectName{Type: kind, Sum: sum}] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// reset makes the remote repository what it was.
func (k *killTest) reset(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(k.remote.repo); err != nil {
		t.Fatal(err)
	}
	output(t, "cp", "-a", k.template, k.remote.repo)
}

func (k *killTest) command(t *testing.T) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return k.remote.pushCommand(ctx, k.port, []string{"--json", "--repo=" + k.local}, "main")
}

// pushAndKill kills one of the processes of that name at that moment of a push, or
// the first that there is after it.
func (k *killTest) pushAndKill(t *testing.T, name string, moment time.Duration) {
	t.Helper()
	cmd := k.command(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ended:
	}
	k.kill(t, name, ended)
	<-ended
	k.remote.waitForProcesses(t)
}

func (k *killTest) kill(t *testing.T, name string, ended <-chan struct{}) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		for pid, cmdline := range processes(k.remote.mark) {
			program, _, _ := strings.Cut(cmdline, " ")
			if filepath.Base(program) == name && unix.Kill(pid, unix.SIGKILL) == nil {
				t.Logf("killed %s", cmdline)
				return
			}
		}
		select {
		case <-ended:
			return
		case <-ticker.C:
		}
	}
}

// pushAgain checks what has come of a push, and completes it. It returns how many
// objects were sent for that.
func (k *killTest) pushAgain(t *testing.T) int {
	t.Helper()
	repo := k.remote.repo
	content := history(t, repo, "main")[0].content
	if content != k.before && content != k.after {
		t.Errorf("main shows neither what it did nor what it should")
	}
	output(t, "ostree", "--repo="+repo, "fsck", "-q")

	missing := 0
	arrived := objectsIn(t, repo)
	for e := range k.objects {
		if !arrived[e] {
			missing++
		}
	}
	cmd := k.command(t)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("the next push: %v\n%s", err, &stderr)
	}
	var result report.Result
	if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
		t.Fatal(err)
	}
	if result.Totals.Objects != missing+1 {
		t.Errorf("the next push sends %d objects besides the commit, and %d are missing", result.Totals.Objects-1, missing)
	}
	output(t, "ostree", "--repo="+repo, "fsck", "-q")
	if now := history(t, repo, "main"); now[0].content != k.after || len(now) != 2 {
		t.Errorf("after the next push, the history is %v", now)
	}
	return result.Totals.Objects
}

// TestHalfway has the objects of a push move into the repository, and one of them fail
// to, which is as far as a receiver comes that is killed then. Where it happens is up to the file
// system, so each object is tried. What has moved is no whole commit, and does not look
// like one.
func TestHalfway(t *testing.T) {
	if testing.Short() {
		t.Skip("it pushes for each directory of objects")
	}
	t.Parallel()
	local := filepath.Join(t.TempDir(), "local")
	if err := otrepo.Init(local, "archive"); err != nil {
		t.Fatal(err)
	}
	c := otrepo.Commit{Ref: "main", Dir: randomTree(t, 1, 6, 1000), Time: time.Unix(1_700_000_000, 0)}
	if _, err := c.Write(local); err != nil {
		t.Fatal(err)
	}
	for _, transport := range []string{"stream", "tunnel"} {
		t.Run(transport, func(t *testing.T) {
			remote := newSSHRemote(t)
			push := func() error {
				options := []string{"--repo=" + local, "--transport=" + transport}
				said, err := remote.pushCommand(t.Context(), remote.server.Port(), options, "main").CombinedOutput()
				t.Logf("%s", said)
				return err
			}
			objects := filepath.Join(remote.repo, "objects")
			clear := func() {
				if err := os.RemoveAll(remote.repo); err != nil {
					t.Fatal(err)
				}
				if err := otrepo.Init(remote.repo, "archive"); err != nil {
					t.Fatal(err)
				}
			}
			if err := push(); err != nil {
				t.Fatal(err)
			}
			dirs, err := os.ReadDir(objects)
			if err != nil {
				t.Fatal(err)
			}
			for _, dir := range dirs {
				clear()
				// It looks as if nothing were there, and nothing can be made there.
				obstacle := filepath.Join(objects, dir.Name())
				if err := os.Symlink("nowhere", obstacle); err != nil {
					t.Fatal(err)
				}
				if push() == nil {
					t.Fatalf("%s: the push does not fail", dir.Name())
				}
				if err := os.Remove(obstacle); err != nil {
					t.Fatal(err)
				}
				output(t, "ostree", "--repo="+remote.repo, "fsck", "-q")
				if refs := output(t, "ostree", "--repo="+remote.repo, "refs"); refs != "" {
					t.Errorf("%s: refs have moved: %s", dir.Name(), refs)
				}
				if err := push(); err != nil {
					t.Fatal(err)
				}
				output(t, "ostree", "--repo="+remote.repo, "fsck", "-q")
				if marks, _ := filepath.Glob(filepath.Join(remote.repo, "state/*.commitpartial")); len(marks) > 0 {
					t.Errorf("%s: commits are still said to be partial: %q", dir.Name(), marks)
				}
				if got := len(history(t, remote.repo, "main")); got != 1 {
					t.Errorf("%s: main has %d commits", dir.Name(), got)
				}
			}
		})
	}
}

// TestKilledBetween kills the receiver before each single object that moves into the repository: what has moved by then is
// in no ref, and is taken for what is there; what has not is found in the quarantine, so that nothing is sent again. If somebody prunes
// before the next push, what had moved is, and nothing else.
func TestKilledBetween(t *testing.T) {
	t.Parallel()
	base := newStatesBase(t)
	for _, prunes := range []bool{false, true} {
		t.Run(fmt.Sprintf("prunes %v", prunes), func(t *testing.T) {
			w := base.copied(t)
			w.transport = "stream"
			w.emptied(t)
			empty := w.target
			step := 1
			if prunes || testing.Short() {
				step = 3
			}
			partly := 0
			for n := 1; ; n += step {
				w.setTarget(filepath.Join(t.TempDir(), "target"))
				copyRepo(t, w.target, empty)
				m := moment{library: w.library, call: "renameat", dir: filepath.Join(w.target, "objects"), number: n}
				if w.pushWith(t, []string{m.command(t)}, "main").err == nil {
					if partly < 3 {
						t.Errorf("only %d times, a part of the objects has moved", partly)
					}
					return
				}
				if w.goesOn(t, n, prunes) {
					partly++
				}
			}
		})
	}
}

// goesOn pushes once more, when the receiver was killed at its Nth attempt to move an object, and reports whether a part had moved.
func (w *world) goesOn(t *testing.T, n int, prunes bool) (partly bool) {
	t.Helper()
	moved, all := objectsIn(t, filepath.Join(w.target, "objects")), objectsIn(t, w.target)
	if refs := refFiles(t, w.target); len(refs) > 0 {
		t.Errorf("%d: refs have moved: %v", n, refs)
	}
	if len(all) == 0 {
		t.Errorf("%d: nothing has arrived", n)
	}
	output(t, "ostree", "--repo="+w.target, "fsck", "-q")
	again := 0
	if prunes {
		output(t, "ostree", "--repo="+w.target, "prune", "--refs-only")
		again = len(moved)
	}
	said := w.push(t, "main")
	if said.err != nil {
		t.Fatalf("%d: %v", n, said.err)
	}
	if sent := said.result.Objects - 1; sent != again {
		t.Errorf("%d: %d objects besides the commit are sent, and not %d", n, sent, again)
	}
	w.checkPulled(t, "main")
	output(t, "ostree", "--repo="+w.target, "fsck", "-q")
	return len(moved) > 0 && len(moved) < len(all)
}

// TestWithoutNoReplace has objects that cannot be renamed without replacing others: the file system cannot (EINVAL, as some of other
// machines), the kernel does not know that (ENOSYS), a container does not allow it (EPERM), or the repository and its tmp/ have
// different quotas for projects (EXDEV). They get into the repository in libostree's way.
func TestWithoutNoReplace(t *testing.T) {
	t.Parallel()
	for _, errno := range []unix.Errno{unix.EINVAL, unix.ENOSYS, unix.EPERM, unix.EXDEV} {
		t.Run(errno.Error(), func(t *testing.T) {
			w := newStatesBase(t).copied(t)
			w.transport = "stream"
			w.emptied(t)
			m := moment{library: w.library, call: "renameat", dir: filepath.Join(w.target, "objects"), number: 1000}
			said := w.pushWith(t, []string{m.command(t, fmt.Sprintf("MOMENT_NO_FLAGS=%d", errno))}, "main")
			if said.err != nil {
				t.Fatalf("%v\n%s", said.err, said.stderr)
			}
			w.checkPulled(t, "main")
			output(t, "ostree", "--repo="+w.target, "fsck", "-q")
		})
	}
}
