package push

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ostree-push/internal/otrepo"
	"ostree-push/ostree"
)

// TestSource asks for what a pull reads, and for what nobody should get.
func TestSource(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	tree := t.TempDir()
	if err := os.WriteFile(filepath.Join(tree, "file"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := otrepo.Init(dir, "archive"); err != nil {
		t.Fatal(err)
	}
	sum, err := otrepo.Commit{Ref: "main", Dir: tree}.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config")
	original, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	secret := "[remote \"origin\"]\nurl=https://user:password@example.org/\n"
	if err := os.WriteFile(config, append(original, secret...), 0o644); err != nil {
		t.Fatal(err)
	}
	repo, err := ostree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	refs, err := repo.Refs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var warned []string
	s, err := newSource(repo, refs, nil, func(problem string) { warned = append(warned, problem) })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.loadSummary(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(s.handle))
	defer server.Close()
	get := func(path string) (int, []byte) {
		t.Helper()
		request, err := http.NewRequest("GET", server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.URL.Opaque = path // as it is, with any .. in it
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, body
	}
	root := "/" + s.secret + "/"

	if status, body := get(root + "config"); status != 200 || !bytes.Contains(body, []byte("mode=archive-z2")) || bytes.Contains(body, []byte("password")) {
		t.Errorf("config: %d %q", status, body)
	}
	if status, body := get(root + "refs/heads/main"); status != 200 || string(body) != sum+"\n" {
		t.Errorf("ref: %d %q, want %q", status, body, sum)
	}
	if status, body := get(root + "summary"); status != 200 {
		t.Errorf("summary: %d", status)
	} else if listed, err := ostree.ParseSummary(body); err != nil || listed["main"].String() != sum {
		t.Errorf("summary lists %v, %v", listed, err)
	}
	commit := "objects/" + sum[:2] + "/" + sum[2:] + ".commit"
	if status, body := get(root + commit); status != 200 {
		t.Errorf("commit: %d", status)
	} else if file, _ := os.ReadFile(filepath.Join(dir, commit)); !bytes.Equal(body, file) {
		t.Errorf("commit is not the file")
	}
	if len(warned) > 0 {
		t.Errorf("warned of %q", warned)
	}

	if err := os.Symlink(config, filepath.Join(dir, "objects", sum[:2], strings.Repeat("0", 62)+".filez")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "objects", sum[:2], strings.Repeat("1", 62)+".filez"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"/", "/config", "/summary", "/" + commit, // without the secret
		"/push-00000000000000000000000000000000/config",
		root, root + "objects", root + "objects/", root + "objects/" + sum[:2] + "/",
		root + "refs", root + "refs/heads/", root + "refs/heads/other", root + "refs/remotes/origin/main",
		root + "../config", root + "objects/../config", root + "objects/" + sum[:2] + "/../../config",
		root + "objects/%2e%2e/config", root + "refs/heads/../../config",
		root + "summary.sig", root + ".lock", root + "tmp/", root + "extensions", root + "state",
		root + "objects/" + sum[:2] + "/" + strings.Repeat("0", 62) + ".filez", // a link
		root + "objects/" + sum[:2] + "/" + strings.Repeat("1", 62) + ".filez", // a directory
		root + "deltas/../config", root + "deltas/aa/../../config",
	} {
		if status, body := get(path); status != 404 {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}

	response, err := http.Post(server.URL+root+"config", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 404 {
		t.Errorf("POST: %d", response.StatusCode)
	}
}
