package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ostree-push/cli"
	"ostree-push/internal/link"
	"ostree-push/internal/otrepo"
	"ostree-push/internal/sshd"
	"ostree-push/ostree"
	"ostree-push/report"
)

// TestConcurrentPushers has ten pushers push into one repository at the same
// time, round after round: half of them to one ref, with commits of which the
// newest has to win whoever comes first, the others to a ref of their own.
//
// It guards against what can go wrong between looking at a ref and setting it:
// a commit that replaces a newer one, one that its pusher was told is in and
// that no history has, and a summary that was made before the last ref was set.
func TestConcurrentPushers(t *testing.T) {
	t.Parallel()
	const pushers, sharing = 10, 5
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	remote := newSSHRemote(t)
	var all []*pusher
	for i := range pushers {
		p := &pusher{remote: remote, repo: filepath.Join(t.TempDir(), "local"), ref: "shared"}
		if i >= sharing {
			p.ref = fmt.Sprintf("own-%d", i)
		}
		if err := otrepo.Init(p.repo, "archive"); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}

	moves := map[string]move{} // of all refs, by the commit that was set
	for round := range rounds {
		t.Logf("round %d", round)
		newest := map[string]logEntry{}
		for i, p := range all {
			// Another one has the newest each time, of the shared ref.
			seconds := 1_700_000_000 + round*pushers + (i+round)%sharing
			p.commit(t, round, time.Unix(int64(seconds), 0))
			if newest[p.ref].time.Before(p.offered.time) {
				newest[p.ref] = p.offered
			}
		}
		pushAtOnce(t, all)

		for _, p := range all {
			result := p.result(t)
			switch result.Status {
			case report.New, report.Updated:
				moves[result.New] = move{p.ref, result.Old, p.offered.content}
			case report.Rejected:
				if p.offered == newest[p.ref] || result.Reason != "not newer" {
					t.Errorf("%s: the commit of %v was rejected: %s", p.ref, p.offered.time, result.Reason)
				}
			default:
				t.Errorf("%s is %s", p.ref, result.Status)
			}
		}
		remote.checkHistories(t, newest, moves)
		remote.checkSummary(t, newest)
		remote.checkNothingLeft(t)
		if (round+1)%5 == 0 || round == rounds-1 {
			output(t, "ostree", "--repo="+remote.repo, "fsck", "--quiet")
		}
		if t.Failed() {
			return // or each round after it would fail as well
		}
	}
	// With one move a round, the pushers would just have met a finished push.
	t.Logf("%d commits offered, %d of them set", rounds*pushers, len(moves))
}

// move is what a pusher was told: that its content is on the ref now, on top of
// the commit old.
type move struct{ ref, old, content string }

// sshRemote is a repository behind an sshd of its own.
type sshRemote struct {
	repo    string
	server  *sshd.Server
	program string // ostree-push
	tmp     string // where both ends make their temporary directories
	mark    string // in the environment of both ends
}

// newSSHRemote starts one, with those lines of sshd_config.
func newSSHRemote(t *testing.T, lines ...string) *sshRemote {
	// t.TempDir would be too long a name for the sockets of ssh.
	private, err := os.MkdirTemp("", "ssh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(private) })
	ours := programs()
	remote := &sshRemote{
		repo:    filepath.Join(t.TempDir(), "remote"),
		program: filepath.Join(ours, programName),
		tmp:     filepath.Join(private, "tmp"),
		mark:    markPrefix + private,
	}
	if err := os.Mkdir(remote.tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := otrepo.Init(remote.repo, "archive"); err != nil {
		t.Fatal(err)
	}
	remote.server, err = sshd.Start(sshd.Config{
		Dir:   private,
		Path:  ours + ":/usr/bin:/bin",
		Lines: lines,
		Env:   []string{remote.mark, "TMPDIR=" + remote.tmp, "GORACE=" + raceOptions},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remote.server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return remote
}

// pushCommand is a push to it, through a port that leads there.
func (r *sshRemote) pushCommand(ctx context.Context, port int, options []string, refs ...string) *exec.Cmd {
	args := slices.Concat(r.server.ClientOptionsVia(port), options,
		[]string{r.server.User() + "@" + r.server.Host() + ":" + r.repo}, refs)
	cmd := exec.CommandContext(ctx, r.program, args...)
	cmd.Env = append(os.Environ(), r.mark, "TMPDIR="+r.tmp)
	return cmd
}

// linkTo returns a port that leads to it over a link.
func (r *sshRemote) linkTo(t *testing.T, l link.Link) int {
	t.Helper()
	proxy, err := l.Proxy(t.Context(), net.JoinHostPort(r.server.Host(), strconv.Itoa(r.server.Port())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	return proxy.Addr.Port
}

// pusher pushes one ref of a local repository of its own.
type pusher struct {
	remote    *sshRemote
	repo, ref string

	offered        logEntry
	err            error
	stdout, stderr bytes.Buffer
}

// commit makes what is offered in a round: a file that all pushers of the round
// have, so that they bring the same object, and one that no other commit has.
func (p *pusher) commit(t *testing.T, round int, at time.Time) {
	tree := t.TempDir()
	for name, content := range map[string]string{
		"common": fmt.Sprintln("round", round),
		"unique": fmt.Sprintln(p.ref, at.Unix()),
	} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := (otrepo.Commit{Ref: p.ref, Dir: tree, Time: at}).Write(p.repo); err != nil {
		t.Fatal(err)
	}
	p.offered = history(t, p.repo, p.ref)[0]
}

// pushAtOnce lets all go at the same moment, and returns when all are done.
func pushAtOnce(t *testing.T, all []*pusher) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ready := make(chan struct{})
	var done sync.WaitGroup
	for _, p := range all {
		done.Add(1)
		go func() {
			defer done.Done()
			<-ready
			p.push(ctx)
		}()
	}
	close(ready)
	done.Wait()
}

func (p *pusher) push(ctx context.Context) {
	cmd := p.remote.pushCommand(ctx, p.remote.server.Port(), []string{"--json", "--repo=" + p.repo}, p.ref)
	p.stdout.Reset()
	p.stderr.Reset()
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	p.err = cmd.Run()
}

// result is what became of the ref, as the pusher was told.
func (p *pusher) result(t *testing.T) report.Ref {
	t.Helper()
	var exit *exec.ExitError
	rejected := errors.As(p.err, &exit) && exit.ExitCode() == cli.ExitRejected
	if p.err != nil && !rejected {
		t.Fatalf("push %s: %v\n%s", p.ref, p.err, &p.stderr)
	}
	var result report.Result
	if err := json.Unmarshal(p.stdout.Bytes(), &result); err != nil {
		t.Fatalf("push %s: %v in %q", p.ref, err, &p.stdout)
	}
	if len(result.Refs) != 1 || string(result.Refs[0].Ref) != p.ref {
		t.Fatalf("push %s: the result has the refs %v", p.ref, result.Refs)
	}
	if rejected != (result.Refs[0].Status == report.Rejected) {
		t.Errorf("push %s: %v, and the ref is %s", p.ref, p.err, result.Refs[0].Status)
	}
	return result.Refs[0]
}

// checkHistories checks that each ref shows the newest that it was offered, and
// that all histories together are the moves that pushers were told of.
func (r *sshRemote) checkHistories(t *testing.T, newest map[string]logEntry, told map[string]move) {
	t.Helper()
	moves := map[string]move{}
	for ref, offered := range newest {
		log := history(t, r.repo, ref)
		if log[0].content != offered.content || !log[0].time.Equal(offered.time) {
			t.Errorf("%s shows the commit of %v, and %v was offered", ref, log[0].time, offered.time)
		}
		for i, entry := range log {
			moves[entry.sum] = move{ref, entry.parent, entry.content}
			if i+1 == len(log) {
				if entry.parent != "" {
					t.Errorf("the history of %s ends at %s, whose parent %s is not there", ref, entry.sum, entry.parent)
				}
				break
			}
			parent := log[i+1]
			if entry.parent != parent.sum {
				t.Errorf("%s: the parent of %s is %s, and %s comes before it", ref, entry.sum, entry.parent, parent.sum)
			}
			if !parent.time.Before(entry.time) {
				t.Errorf("%s: the commit of %v replaced that of %v", ref, parent.time, entry.time)
			}
		}
	}
	if diff := cmp.Diff(told, moves, cmp.AllowUnexported(move{})); diff != "" {
		t.Errorf("what the pushers were told (-) is not what happened (+):\n%s", diff)
	}
}

// checkSummary checks that the summary lists the refs of the repository, which
// are the keys of expected, with their commits.
func (r *sshRemote) checkSummary(t *testing.T, expected map[string]logEntry) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(r.repo, "summary"))
	if err != nil {
		t.Fatal(err)
	}
	listed, err := ostree.ParseSummary(content)
	if err != nil {
		t.Fatal(err)
	}
	summary, refs := map[string]string{}, map[string]string{}
	for ref, sum := range listed {
		summary[string(ref)] = sum.String()
	}
	for ref := range strings.Lines(output(t, "ostree", "--repo="+r.repo, "refs")) {
		ref = strings.TrimSpace(ref)
		refs[ref] = strings.TrimSpace(output(t, "ostree", "--repo="+r.repo, "rev-parse", ref))
		if _, ok := expected[ref]; !ok {
			t.Errorf("the repository has the ref %s", ref)
		}
	}
	if diff := cmp.Diff(refs, summary); diff != "" {
		t.Errorf("the refs (-) are not what the summary lists (+):\n%s", diff)
	}
}

// checkNothingLeft checks that both ends have cleaned up behind them.
func (r *sshRemote) checkNothingLeft(t *testing.T) {
	t.Helper()
	r.waitForProcesses(t)
	for _, pattern := range []string{
		filepath.Join(r.tmp, "*"),
		filepath.Join(r.repo, "tmp", "ostree-receive-*"),
		filepath.Join(r.repo, "tmp", "staging-*"),
		filepath.Join(r.repo, "state", "*"), // marks of partial commits
	} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// waitForProcesses waits until no process of a push is left: only the pushers
// have been waited for.
func (r *sshRemote) waitForProcesses(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for left := processes(r.mark); len(left) > 0; left = processes(r.mark) {
		for pid, cmdline := range left {
			if gone := waitForExit(pid, time.Until(deadline)); !gone {
				t.Fatalf("process %d is left: %s", pid, cmdline)
			}
		}
	}
}

// waitForExit waits for a process that is not a child, and reports whether it
// is gone.
func waitForExit(pid int, timeout time.Duration) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return errors.Is(err, unix.ESRCH)
	}
	defer unix.Close(fd)
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(0, timeout).Milliseconds()))
	// A signal of Go's own is no answer; the caller looks again.
	return n > 0 || errors.Is(err, unix.EINTR)
}

// logEntry is one commit of a history. Its content is the checksum of what is
// in it, which stays the same when a receiver writes it anew.
type logEntry struct {
	sum, parent, content string
	time                 time.Time
}

// history is what `ostree log` shows, the newest first.
func history(t *testing.T, repo, ref string) []logEntry {
	t.Helper()
	var entries []logEntry
	for line := range strings.Lines(output(t, "ostree", "--repo="+repo, "log", ref)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		value = strings.TrimSpace(value)
		if key == "commit" {
			entries = append(entries, logEntry{sum: value})
			continue
		}
		if len(entries) == 0 {
			t.Fatalf("the log of %s begins with %q", ref, line)
		}
		entry := &entries[len(entries)-1]
		switch key {
		case "Parent:":
			entry.parent = value
		case "ContentChecksum:":
			entry.content = value
		case "Date:":
			at, err := time.Parse("2006-01-02 15:04:05 -0700", value)
			if err != nil {
				t.Fatal(err)
			}
			entry.time = at.UTC()
		}
	}
	if len(entries) == 0 {
		t.Fatalf("%s has no log", ref)
	}
	return entries
}

// output runs a program that has to succeed.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, &stdout, &stderr)
	}
	return stdout.String()
}
