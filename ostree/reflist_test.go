package ostree_test

import (
	"context"
	"errors"
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

// What is read by name is what is listed: of each name, of those that are below it, and of any that is not there.
func TestReadRefs(t *testing.T) {
	path := initRepo(t, "archive")
	sum := commit(t, path, newCommit{ref: "group/deep/main", dir: tree(t)})
	heads := filepath.Join(path, "refs", "heads")
	program(t, "--repo="+path, "refs", "--create=group/alias", "--alias", "group/deep/main")
	hex := strings.Repeat("ab", 32)
	for name, content := range map[string]string{
		"empty": "", "group/garbage": "garbage", "group/tmp.latest": sum.String(), hex: sum.String(), "main~": sum.String(),
	} {
		write(t, filepath.Join(heads, name), content)
	}
	// A link to a directory is not followed.
	for name, to := range map[string]string{"nowhere": "there/is/none", "dir": "group", "group/out": "../../../config"} {
		if err := os.Symlink(to, filepath.Join(heads, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(heads, "nothing"), 0o755), unix.Mkfifo(filepath.Join(heads, "group/fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	repo := open(t, path)
	all, err := repo.ListRefs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := []ostree.Ref{
		"group/deep/main", "group/alias", "empty", "group/garbage", "group/tmp.latest", ostree.Ref(hex), "main~", "nowhere", "dir", "group/out", "group",
		"group/fifo", "dir/deep/main", "none", "none/at/all", "empty/below", "nothing", "../heads/empty", "", ".", "group/", "/group",
	}
	list, err := repo.ReadRefs(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(texts(all), texts(list)); diff != "" {
		t.Errorf("by name (-listed +read)\n%s", diff)
	}

	below := func(ref ostree.Ref) []ostree.Ref {
		list, err := repo.RefsBelow(t.Context(), ref)
		if err != nil {
			t.Error(err)
		}
		return list.All().Sorted()
	}
	if diff := cmp.Diff([]ostree.Ref{"group/alias", "group/deep/main", "group/garbage", "group/out", "group/tmp.latest"}, below("group")); diff != "" {
		t.Errorf("below group\n%s", diff)
	}
	for _, ref := range []ostree.Ref{"empty", "nothing", "none", "dir", "dir/deep", "empty/below"} {
		if refs := below(ref); len(refs) > 0 {
			t.Errorf("below %s: %v", ref, refs)
		}
	}

	if err := os.Rename(heads, heads+".gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.ReadRefs(t.Context(), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without refs/heads: %v", err)
	}
}

// texts returns a list with the texts of its errors, which can be compared.
func texts(list *ostree.RefList) map[string]any {
	bad := map[ostree.Ref]string{}
	for ref, err := range list.Bad {
		bad[ref] = err.Error()
	}
	return map[string]any{"refs": list.Refs, "aliases": list.Aliases, "bad": bad}
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
