package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ostree-push/internal/client0"
	"ostree-push/internal/otrepo"
	"ostree-push/report"
)

// meanwhile pushes refs, and has do done when what is pushed moves into the target, and
// before its refs move.
func (w *world) meanwhile(t *testing.T, number int, dir string, env []string, do func(), refs ...string) (said saying) {
	t.Helper()
	m := moment{
		library: w.library, call: "renameat", dir: filepath.Join(w.target, dir), number: number,
		gate: filepath.Join(t.TempDir(), "gate"),
	}
	m.meanwhile(t, func() {
		if w.transport != "protocol-0" {
			said = w.pushWith(t, []string{m.command(t, env...)}, refs...)
			return
		}
		var stderr bytes.Buffer
		c := client0.Client{
			Repo: w.source, Refs: refs, Stderr: &stderr,
			Command: append(m.receiver(t, "ostree-receive-0", env...), "--repo="+w.target),
		}
		said.err = c.Push(t.Context())
		said.stderr = stderr.String()
	}, do)
	t.Logf("%v\n%s", said.err, said.stderr)
	return said
}

// TestCommitMeanwhile has somebody commit to a ref in the target, with libostree and without our
// lock, while a commit for that ref is being imported. It is not lost: either it stays what the ref
// shows, or it is in the history of what does.
func TestCommitMeanwhile(t *testing.T) {
	t.Parallel()
	base := newStatesBase(t)
	for _, test := range []struct {
		name  string
		ref   string
		at    int64 // of the commit that is made meanwhile; the one that is pushed is of 3
		stays bool
	}{
		{"a newer one", "main", 4, true},
		{"one of the same time", "main", 3, true},
		{"an older one", "main", 2, false},
		{"a newer one on a new ref", "fresh", 4, true},
		{"an older one on a new ref", "fresh", 2, false},
	} {
		base.over(t, test.name, true, func(t *testing.T, w *world) {
			if test.ref != "main" {
				output(t, "ostree", "--repo="+w.source, "refs", "--create="+test.ref, "main")
			}
			var made string
			said := w.meanwhile(t, 1, "objects", nil, func() {
				made = w.commitInTarget(t, test.ref, test.at)
			}, test.ref)
			w.checkNotLost(t, said, test.ref, made, test.stays)
		})
	}
}

// commitInTarget is what somebody does there with libostree, and without our lock.
func (w *world) commitInTarget(t *testing.T, ref string, at int64) string {
	t.Helper()
	tree := t.TempDir()
	if err := os.WriteFile(filepath.Join(tree, "meanwhile"), []byte("This is new"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := otrepo.Commit{Ref: ref, Dir: tree, Time: time.Unix(1_700_000_000+at, 0)}
	made, err := c.Write(w.target)
	if err != nil {
		t.Error(err)
	}
	return made
}

func (w *world) checkNotLost(t *testing.T, said saying, ref, made string, stays bool) {
	t.Helper()
	now := commitOf(t, w.target, ref)
	output(t, "ostree", "--repo="+w.target, "fsck", "-q")
	if stays || w.transport == "protocol-0" { // whose commits are not rewritten
		if now != made {
			t.Errorf("%s shows %s, and not what was committed meanwhile", ref, now)
		}
		if w.transport == "protocol-0" && said.err == nil {
			t.Error("the client of protocol 0 is not told that its commit is not there")
		}
		for _, r := range said.result.Refs {
			if r.Status != report.Rejected {
				t.Errorf("%s is said to be %s", r.Ref, r.Status)
			}
		}
		return
	}
	if said.err != nil {
		t.Errorf("the push fails: %v", said.err)
	}
	w.checkPulled(t, ref)
	in := slices.ContainsFunc(history(t, w.target, ref), func(e logEntry) bool { return e.sum == made })
	if now == made || !in {
		t.Errorf("%s shows %s; what was committed meanwhile is in its history: %v", ref, now, in)
	}
	for _, r := range said.result.Refs {
		if r.Old != made || r.New != now {
			t.Errorf("%s is said to have moved from %s to %s", ref, r.Old, r.New)
		}
	}
}

// TestWhatMovedIsSaid has one of two refs become one that cannot be set: before the first of
// them moves, and after it. What has moved is told, is in the audit log and in the summary.
func TestWhatMovedIsSaid(t *testing.T) {
	t.Parallel()
	base := newStatesBase(t)
	for name, moment := range map[string]struct {
		number int
		dir    string
	}{"before": {1, "objects"}, "between": {2, "refs/heads"}} {
		base.over(t, name, true, func(t *testing.T, w *world) {
			for _, ref := range []string{"aaa", "zzz"} {
				output(t, "ostree", "--repo="+w.source, "refs", "--create="+ref, "main")
			}
			log := filepath.Join(t.TempDir(), "audit.log")
			config := filepath.Join(t.TempDir(), "config.toml")
			if err := os.WriteFile(config, []byte("audit_log = \""+log+"\"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			output(t, "ostree", "--repo="+w.target, "summary", "-u")
			said := w.meanwhile(t, moment.number, moment.dir, []string{"OSTREE_RECEIVE_CONF=" + config}, func() {
				// Somebody makes a ref that has zzz as its directory.
				writeRef(t, w.target, "heads/zzz/below", commitOf(t, w.target, "main")+"\n")
			}, "aaa", "zzz")
			w.checkMovesSaid(t, said, log)
		})
	}
}

// auditLine is what a test reads of the audit log.
type auditLine struct {
	Refs []struct {
		Ref     string
		Verdict report.Status
	}
	Verdict string
	Error   string
}

func (w *world) checkMovesSaid(t *testing.T, said saying, log string) {
	t.Helper()
	_, err := os.Stat(filepath.Join(w.target, "refs/heads/aaa"))
	moved := err == nil
	t.Logf("aaa has moved: %v", moved)
	if said.err == nil {
		t.Fatal("zzz cannot be set, and the push succeeds")
	}
	said.checkReason(t, `\bzzz\b`, w.transport)
	says := strings.Contains(said.result.Error, "updated") || strings.Contains(said.result.Error, "have moved")
	if says != moved && w.transport != "protocol-0" {
		t.Errorf("the error does not say whether refs have moved: %s", said.result.Error)
	}
	line := lastLine(t, log)
	verdict := map[bool]string{false: "refused", true: "accepted"}[moved]
	if line.Verdict != verdict || line.Error == "" {
		t.Errorf("the log has %+v", line)
	}
	logged, told := false, false
	for _, r := range line.Refs {
		logged = logged || r.Ref == "aaa" && r.Verdict == report.New
	}
	for _, r := range said.result.Refs {
		told = told || r.Ref == "aaa" && r.Status == report.New
	}
	if logged != moved {
		t.Errorf("the log has the refs %v", line.Refs)
	}
	if told != moved && w.transport != "protocol-0" {
		t.Errorf("the pusher is told of %v", said.result.Refs)
	}
	if summary := output(t, "ostree", "--repo="+w.target, "summary", "-v"); strings.Contains(summary, "* aaa\n") != moved {
		t.Errorf("the summary is not of now: %s", summary)
	}
	output(t, "ostree", "--repo="+w.target, "fsck", "-q")
}

// lastLine is the last line of the audit log.
func lastLine(t *testing.T, log string) (line auditLine) {
	t.Helper()
	content, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", content)
	lines := slices.Collect(bytes.Lines(content))
	if err := json.Unmarshal(lines[len(lines)-1], &line); err != nil {
		t.Fatal(err)
	}
	return line
}
