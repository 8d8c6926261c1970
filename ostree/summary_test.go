package ostree_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ostree-push/ostree"
)

// twoRefs makes a repository with two refs.
func twoRefs(t testing.TB, collection string) (string, ostree.Refs) {
	t.Helper()
	path, dir := initRepo(t, "archive"), tree(t)
	if collection != "" {
		program(t, "--repo="+path, "config", "set", "core.collection-id", collection)
	}
	return path, ostree.Refs{
		"main":      commit(t, path, newCommit{ref: "main", dir: dir, subject: "main", time: 1700000000}),
		"a/b/other": commit(t, path, newCommit{ref: "a/b/other", dir: dir, subject: "other", time: 1800000000}),
	}
}

func newSummary(t testing.TB, repo *ostree.Repo, refs ostree.Refs) []byte {
	t.Helper()
	summary, err := repo.NewSummary(refs)
	if err != nil {
		t.Fatal(err)
	}
	return summary
}

// view returns what the ostree program reads in the summary file of a
// repository: its refs, and the rest.
func view(t *testing.T, repo string) (refs, metadata string) {
	t.Helper()
	out := program(t, "--repo="+repo, "summary", "--view")
	end := strings.LastIndex(out, "\n\n")
	if end < 0 {
		t.Fatalf("a summary without refs: %s", out)
	}
	return out[:end], out[end:]
}

func TestNewSummary(t *testing.T) {
	for _, collection := range []string{"", "org.example.Summary"} {
		path, refs := twoRefs(t, collection)
		repo := open(t, path)
		summary := newSummary(t, repo, refs)
		if got, err := ostree.ParseSummary(summary); err != nil || !maps.Equal(got, refs) {
			t.Errorf("ParseSummary: %v, %v", got, err)
		}

		// Entries are as libostree writes them.
		write(t, filepath.Join(path, "summary"), string(summary))
		got, metadata := view(t, path)
		if !strings.Contains(metadata, collection) {
			t.Errorf("no collection id: %s", metadata)
		}
		for _, ref := range refs.Sorted() {
			if !strings.Contains(got, string(ref)) {
				t.Errorf("%s is missing", ref)
			}
		}
		letLibostreeUpdate(t, path)
		if want, _ := view(t, path); got != want {
			t.Errorf("summary with\n%s\nwant\n%s", got, want)
		}
	}
}

// letLibostreeUpdate has libostree write the summary file, but no commit on
// ostree-metadata.
func letLibostreeUpdate(t *testing.T, path string) {
	t.Helper()
	program(t, "--repo="+path, "config", "set", "core.auto-update-summary", "true")
	program(t, "--repo="+path, "refs", "--create=temporary", "main")
	program(t, "--repo="+path, "refs", "--delete", "temporary")
}

// A pull reads a summary of NewSummary from a server that has no such file.
func TestNewSummaryServed(t *testing.T) {
	path, refs := twoRefs(t, "")
	summary := newSummary(t, open(t, path), refs)
	files := http.FileServer(http.Dir(path))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/summary" {
			w.Write(summary)
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer server.Close()

	repo := create(t, server.URL)
	fetched, err := repo.FetchSummary(context.Background(), "origin", 0)
	if err != nil || !bytes.Equal(fetched, summary) {
		t.Errorf("FetchSummary: %d bytes, %v", len(fetched), err)
	}
	if got := program(t, "--repo="+repo.Path(), "remote", "refs", "origin"); got != "origin:a/b/other\norigin:main\n" {
		t.Errorf("remote refs: %q", got)
	}
	program(t, "--repo="+repo.Path(), "pull", "--mirror", "origin")
	program(t, "--repo="+repo.Path(), "fsck", "--quiet")
	if got := refsOf(t, repo.Path()); !maps.Equal(got, refs) {
		t.Errorf("refs after a pull: %v", got)
	}
}

func TestNewSummaryOfNothing(t *testing.T) {
	refs, err := ostree.ParseSummary(newSummary(t, create(t, ""), nil))
	if err != nil || len(refs) != 0 {
		t.Errorf("%v, %v", refs, err)
	}
}

func TestNewSummaryMissingCommit(t *testing.T) {
	missing := checksum(t, strings.Repeat("0", 63)+"1")
	_, err := create(t, "").NewSummary(ostree.Refs{"main": missing})
	if !errors.Is(err, ostree.ErrNotFound) || !strings.HasPrefix(err.Error(), "Ref main: ") {
		t.Errorf("%v", err)
	}
}

func TestFetchSummaryMissing(t *testing.T) {
	_, err := create(t, serve(t, t.TempDir())).FetchSummary(context.Background(), "origin", 0)
	if !errors.Is(err, ostree.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// RegenerateMetadata is what `ostree summary --update` is.
func TestRegenerateMetadata(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000001") // of the commits on ostree-metadata
	for _, collection := range []string{"", "org.example.Summary"} {
		ours, _ := twoRefs(t, collection)
		theirs := copyRepo(t, ours)
		repo := open(t, ours)
		for round := range 2 { // the second has a parent on ostree-metadata
			if err := repo.RegenerateMetadata(context.Background(), ostree.Signers{}); err != nil {
				t.Fatal(err)
			}
			program(t, "--repo="+theirs, "summary", "--update")
			if got, want := refsOf(t, ours), refsOf(t, theirs); !maps.Equal(got, want) {
				t.Errorf("round %d: refs %v, want %v", round, got, want)
			}
			gotRefs, gotMetadata := view(t, ours)
			wantRefs, wantMetadata := view(t, theirs)
			if gotRefs != wantRefs || withoutDate(gotMetadata) != withoutDate(wantMetadata) {
				t.Errorf("round %d: summary\n%s\n%s\nwant\n%s\n%s", round, gotRefs, gotMetadata, wantRefs, wantMetadata)
			}
			if collection == "" {
				continue
			}
			show := func(path string) string { return program(t, "--repo="+path, "show", "--raw", "ostree-metadata") }
			got := show(ours)
			if want := show(theirs); got != want {
				t.Errorf("round %d: commit\n%s\nwant\n%s", round, got, want)
			}
			for _, binding := range []string{"<'" + collection + "'>", "<['ostree-metadata']>"} {
				if !strings.Contains(got, binding) {
					t.Errorf("commit\n%s\nhas no %s", got, binding)
				}
			}
		}
		program(t, "--repo="+ours, "fsck", "--quiet")
	}
}

// A failure leaves no transaction open.
func TestRegenerateMetadataFails(t *testing.T) {
	path, _ := twoRefs(t, "org.example.Summary")
	repo := open(t, path)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := repo.RegenerateMetadata(ctx, ostree.Signers{}); !errors.Is(err, ostree.ErrCancelled) {
		t.Errorf("%v", err)
	}
	in(t, repo, func(*ostree.Transaction) {})
	if err := repo.RegenerateMetadata(context.Background(), ostree.Signers{}); err != nil {
		t.Error(err)
	}
}

// withoutDate removes the line with the time of the summary.
func withoutDate(s string) string {
	before, rest, _ := strings.Cut(s, "Last-Modified")
	_, after, _ := strings.Cut(rest, "\n")
	return before + after
}

func copyRepo(t testing.TB, path string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("cp", "-a", path, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// hostileSummaries are made of a valid one, with one ref whose commit is sum.
func hostileSummaries(t testing.TB, valid []byte, sum ostree.Checksum) map[string][]byte {
	t.Helper()
	replace := func(old, new string) []byte {
		if bytes.Count(valid, []byte(old)) != 1 || len(old) != len(new) {
			t.Fatalf("cannot replace %q by %q", old, new)
		}
		return bytes.Replace(valid, []byte(old), []byte(new), 1)
	}
	// The checksum is an array of bytes, and the framing offset of its end is
	// after the commit's size, itself and the metadata of the ref. A byte less
	// of the checksum becomes padding, which is zero.
	at := bytes.Index(valid, sum[:])
	end := at + len(sum) + bytes.IndexByte(valid[at+len(sum):], byte(8+len(sum)))
	short := bytes.Clone(valid)
	short[at+len(sum)-1] = 0
	short[end]--
	return map[string][]byte{
		"garbage":            bytes.Repeat([]byte{0xa5, 0x5a, 0xff}, 1000),
		"ones":               bytes.Repeat([]byte{0xff}, 1000),
		"zeros":              make([]byte, 1000),
		"HTML":               []byte("<!DOCTYPE html><html><body>Login</body></html>"),
		"more":               append(bytes.Clone(valid), 0),
		"twice":              append(bytes.Clone(valid), valid...),
		"checksum too short": short,
		"padding not zero":   replace("main\x00\x00", "main\x00x"),
		"name without end":   replace("main\x00\x00\x00\x00", "mainmain"),
		"name not UTF-8":     replace("main\x00", "ma\xffn\x00"),
		"name empty":         replace("main\x00", "\x00\x00\x00\x00\x00"),
		"name with newline":  replace("main\x00", "mai\n\x00"),
		"name of an option":  replace("main\x00", "-ain\x00"),
		"name of a path":     replace("main\x00", "../n\x00"),
		"name from the root": replace("main\x00", "/ain\x00"),
	}
}

func oneRef(t testing.TB) (summary []byte, sum ostree.Checksum) {
	t.Helper()
	path := initRepo(t, "archive")
	sum = commit(t, path, newCommit{ref: "main", dir: tree(t), time: 1})
	return newSummary(t, open(t, path), ostree.Refs{"main": sum}), sum
}

func TestParseSummaryHostile(t *testing.T) {
	valid, sum := oneRef(t)
	for name, data := range hostileSummaries(t, valid, sum) {
		if refs, err := ostree.ParseSummary(data); err == nil {
			t.Errorf("%s: %v", name, refs)
		} else if name == "checksum too short" && !strings.Contains(err.Error(), "length 31") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range valid {
		if refs, err := ostree.ParseSummary(valid[:n]); err == nil {
			t.Errorf("%d of %d bytes: %v", n, len(valid), refs)
		}
	}
}

// Whatever the bytes are, ParseSummary returns, and its refs are valid.
func FuzzParseSummary(f *testing.F) {
	valid, sum := oneRef(f)
	f.Add(valid)
	for _, data := range hostileSummaries(f, valid, sum) {
		f.Add(data)
	}
	path, refs := twoRefs(f, "org.example.Fuzz")
	f.Add(newSummary(f, open(f, path), refs))
	program(f, "--repo="+path, "summary", "--update")
	file, err := os.ReadFile(filepath.Join(path, "summary"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Fuzz(func(t *testing.T, data []byte) {
		refs, err := ostree.ParseSummary(data)
		if err != nil && refs != nil {
			t.Errorf("both refs and the error %v", err)
		}
		for ref := range refs {
			if _, err := ostree.ParseRef(string(ref)); err != nil {
				t.Error(err)
			}
		}
	})
}
