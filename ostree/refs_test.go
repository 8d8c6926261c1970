package ostree_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ostree-push/ostree"
)

func TestParseRef(t *testing.T) {
	part := strings.Repeat("p", 255)
	for _, s := range []string{
		"main",
		"app/org.example.App/x86_64/stable",
		"a/b-c/d.e/f_g",
		"1",
		"_",
		"a-",
		"a..b",
		"a./b",
		"größe/日本/١",
		part,
		strings.Repeat(part+"/", 15) + part,
		strings.Repeat("A", 64),
	} {
		ref, err := ostree.ParseRef(s)
		if err != nil || string(ref) != s {
			t.Errorf("ParseRef(%q) = %q, %v", s, ref, err)
		}
	}
}

func TestParseRefInvalid(t *testing.T) {
	for _, s := range []string{
		"",
		".",
		"..",
		"../main",
		"a/../b",
		"a/./b",
		".hidden",
		"a/.hidden",
		"-option",
		"--repo=other",
		"a/-b",
		"/main",
		"//",
		"main/",
		"a//b",
		"main\n",
		"main\r\n",
		"\nmain",
		"main\x00",
		"ma\x00in",
		"ma\tin",
		"ma\x1b[31min",
		"ma\x7fin",
		"ma in",
		"a:b",
		"origin:main",
		"main^",
		"a\\b",
		"a*",
		"$(id)",
		"a;b",
		"\xff",
		"main\xc3",
		"e\u0301",               // a combining accent
		"a\u2028b",              // a line separator
		"a\u202eb",              // turns the direction of writing
		"a\u200bb",              // a space of no width
		"\ufeffmain",            // a byte order mark
		"a\u2215b/c",            // looks like a slash
		"\U0001f600/ok",         // a picture
		strings.Repeat("a", 64), // a checksum
		strings.Repeat("p", 256),
		strings.Repeat("p/", 3000) + "p",
		strings.Repeat("-", 1<<20),
	} {
		if ref, err := ostree.ParseRef(s); err == nil || ref != "" {
			t.Errorf("ParseRef(%q) = %q, %v", s, ref, err)
		} else if len(err.Error()) > 300 || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
			t.Errorf("ParseRef(%q): the message is not fit to be shown: %q", s, err)
		}
	}
}

// What is no ref, or shows nothing, does not keep the others from being listed.
func TestListRefs(t *testing.T) {
	path := initRepo(t, "archive")
	sum := commit(t, path, newCommit{ref: "group/main", dir: tree(t)})
	heads := filepath.Join(path, "refs", "heads")
	program(t, "--repo="+path, "refs", "--create=alias", "--alias", "group/main")
	program(t, "--repo="+path, "refs", "--create=group/alias", "--alias", "group/main")
	write(t, filepath.Join(heads, "empty"), "")
	write(t, filepath.Join(heads, "garbage"), "garbage")
	write(t, filepath.Join(heads, "main~"), sum.String()) // an editor's backup
	write(t, filepath.Join(heads, ".nfs0001"), sum.String())
	for name, to := range map[string]string{"nowhere": "there/is/none", "out": "../../config", "abs": filepath.Join(path, "config"), "dir": "group"} {
		if err := os.Symlink(to, filepath.Join(heads, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(heads, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := open(t, path).ListRefs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ostree.Refs{"group/main": sum, "alias": sum, "group/alias": sum}, list.Refs); diff != "" {
		t.Errorf("refs (-want +got)\n%s", diff)
	}
	aliases := map[ostree.Ref]ostree.Ref{
		"alias": "group/main", "group/alias": "group/main", "nowhere": "there/is/none", "out": "", "abs": "", "dir": "group",
	}
	if diff := cmp.Diff(aliases, list.Aliases); diff != "" {
		t.Errorf("aliases (-want +got)\n%s", diff)
	}
	bad := slices.Sorted(maps.Keys(list.Bad))
	if diff := cmp.Diff([]ostree.Ref{"abs", "dir", "empty", "garbage", "nowhere", "out"}, bad); diff != "" {
		t.Errorf("bad (-want +got)\n%s", diff)
	}
}

// What is accepted is what libostree can write, and lists.
func TestParseRefAsLibostree(t *testing.T) {
	repo := create(t, "")
	sum := commit(t, repo.Path(), newCommit{ref: "main", dir: tree(t)})
	want := ostree.Refs{"main": sum, "größe/日本/١": sum, "a/b-c/d.e/f_g": sum, ostree.Ref(strings.Repeat("p", 255)): sum}
	for ref := range want {
		if ref != "main" {
			move(t, repo, ostree.RefUpdate{Ref: ref, New: sum})
		}
	}
	got, err := repo.Refs(context.Background())
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestParseChecksum(t *testing.T) {
	const digits = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef"
	sum, err := ostree.ParseChecksum(digits)
	if err != nil || sum.String() != digits || sum[1] != 0x11 || sum[31] != 0xef {
		t.Errorf("%v, %v", sum, err)
	}
	if sum.IsZero() || !(ostree.Checksum{}).IsZero() {
		t.Error("IsZero is wrong")
	}
	for _, s := range []string{
		"",
		digits[1:],
		digits + "0",
		digits + "\n",
		digits[1:] + "\n",
		strings.ToUpper(digits),
		digits[:63] + "g",
		digits[:63] + "\x00",
		digits[:62] + "é",
		digits[:60] + "/../",
		"-" + digits[1:],
		strings.Repeat("a", 1<<20),
	} {
		if sum, err := ostree.ParseChecksum(s); err == nil {
			t.Errorf("ParseChecksum(%q) = %v", s, sum)
		}
	}
}

func TestRefs(t *testing.T) {
	repo := create(t, serve(t, t.TempDir()))
	if refs, err := repo.Refs(context.Background()); err != nil || len(refs) != 0 {
		t.Errorf("a new repository has %v, %v", refs, err)
	}
	dir := tree(t)
	want := ostree.Refs{
		"main":  commit(t, repo.Path(), newCommit{ref: "main", dir: dir, subject: "main"}),
		"a/b/c": commit(t, repo.Path(), newCommit{ref: "a/b/c", dir: dir, subject: "other"}),
	}
	program(t, "--repo="+repo.Path(), "refs", "--create=origin:theirs", "main")
	program(t, "--repo="+repo.Path(), "refs", "--create=alias", "--alias", "main")
	want["alias"] = want["main"]
	got, err := repo.Refs(context.Background())
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if sorted := got.Sorted(); !slices.Equal(sorted, []ostree.Ref{"a/b/c", "alias", "main"}) {
		t.Errorf("sorted: %q", sorted)
	}
}

// libostree writes a ref into a temporary file beside it, which is no ref, and
// may be gone when it is read: both happen when somebody else moves refs. A file of such a name
// that stays is a ref.
func TestRefsWhileOthersMoveThem(t *testing.T) {
	path := initRepo(t, "archive")
	sum := commit(t, path, newCommit{ref: "group/main", dir: tree(t)})
	heads := filepath.Join(path, "refs", "heads")
	write(t, filepath.Join(heads, "group", "tmp.latest"), sum.String()+"\n")
	want := ostree.Refs{"group/main": sum, "group/tmp.latest": sum}
	if diff := cmp.Diff(want, refsOf(t, path)); diff != "" {
		t.Error(diff)
	}

	// A summary that was made meanwhile has them.
	program(t, "--repo="+path, "summary", "-u")
	summary, err := os.ReadFile(filepath.Join(path, "summary"))
	if err != nil {
		t.Fatal(err)
	}
	listed, err := ostree.ParseSummary(summary)
	if diff := cmp.Diff(want, listed); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}

	// Writers at work.
	repo := open(t, path)
	ctx, cancel := context.WithCancel(context.Background())
	content := filepath.Join(t.TempDir(), "content")
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			name := filepath.Join(heads, fmt.Sprintf("tmp.wRiTe%d", i))
			for ctx.Err() == nil {
				// A rename to another link of the same file does nothing.
				own := fmt.Sprint(content, i)
				write(t, own, sum.String()+"\n")
				if err := os.Link(own, name); err != nil {
					t.Error(err)
				}
				if err := os.Remove(own); err != nil {
					t.Error(err)
				}
				if err := os.Rename(name, filepath.Join(heads, "group", "main")); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for range 2000 {
		got, err := repo.Refs(context.Background())
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
			break
		}
	}
	cancel()
	wg.Wait()
}
