package ostree_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ostree-push/ostree"
)

// TestSyncs looks at the system calls of a transaction. What it has is on the disk before
// anything says that it is there: objects before they get where they belong, content before trees, trees before commits, and that before
// commits are complete and refs move. The summary is left to whoever moves refs.
func TestSyncs(t *testing.T) {
	if said, err := exec.CommandContext(t.Context(), "strace", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace is not installed, or not allowed: %v\n%s", err, said)
	}
	for fsync, want := range map[string]string{
		"true":  "sync content tree commit sync complete ref ref ref",
		"false": "content tree commit complete ref ref ref",
	} {
		t.Run("core.fsync="+fsync, func(t *testing.T) {
			path := initRepo(t, "archive")
			program(t, "--repo="+path, "config", "set", "core.fsync", fsync)
			program(t, "--repo="+path, "config", "set", "core.auto-update-summary", "true")
			source, _ := twoRefs(t, "")
			trace := filepath.Join(t.TempDir(), "trace")
			cmd := exec.CommandContext(t.Context(), "strace", "-f", "-q", "-y", "-o", trace,
				"-e", "trace=syncfs,rename,renameat,renameat2,unlinkat",
				os.Args[0], "-test.run=^TestSyncsTraced$")
			cmd.Env = append(os.Environ(), tracedEnv+"="+path, tracedEnv+"_FROM="+source)
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			calls, err := os.ReadFile(trace)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for call := range strings.Lines(string(calls)) {
				what := purpose(call)
				again := len(got) > 0 && got[len(got)-1] == what && what != "ref" && what != "sync"
				if what != "" && !again {
					got = append(got, what)
				}
			}
			if got := strings.Join(got, " "); got != want {
				t.Errorf("it does\n%s\nnot\n%s\n%s", got, want, calls)
			}
		})
	}
}

// purpose tells what a line of strace's is about, "" if that does not matter.
func purpose(call string) string {
	switch has := func(part string) bool { return strings.Contains(call, part) }; {
	case has("resumed>"):
		return ""
	case has(" syncfs("):
		return "sync"
	case has(".commitpartial\""):
		return "complete"
	case has("/objects>, \"") && has(".filez"):
		return "content"
	case has("/objects>, \"") && has(".dir"):
		return "tree"
	case has("/objects>, \""):
		return "commit"
	case has("/refs/heads>, \""):
		return "ref"
	case has("/repo>, \"summary\")"): // newer versions write it in tmp/
		return "summary"
	}
	return ""
}

const tracedEnv = "OSTREE_PUSH_TRACED_REPO"

// TestSyncsTraced is what TestSyncs looks at.
func TestSyncsTraced(t *testing.T) {
	path, from := os.Getenv(tracedEnv), os.Getenv(tracedEnv+"_FROM")
	if path == "" {
		t.Skip("TestSyncs runs this")
	}
	refs := refsOf(t, from)
	repo := open(t, path)
	in(t, repo, func(tx *ostree.Transaction) {
		takeTree(t, tx, open(t, from), refs["main"])
		if err := tx.ImportCommit(t.Context(), open(t, from), refs["main"]); err != nil {
			t.Fatal(err)
		}
	})
	for i := range 3 {
		move(t, repo, ostree.RefUpdate{Ref: ostree.Ref(fmt.Sprintf("new/%d", i)), New: refs["main"]})
	}
}
