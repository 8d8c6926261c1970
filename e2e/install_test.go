package e2e

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// makeIn runs make in a copy of what is needed to install, with stand-ins for what is built.
func makeIn(t *testing.T) (run func(args ...string)) {
	t.Helper()
	dir := t.TempDir()
	files := []string{"Makefile", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "docs", "packaging"}
	cp := exec.Command("cp", append(append([]string{"-r"}, files...), dir)...)
	cp.Dir = ".."
	if out, err := cp.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pages, err := filepath.Glob("../docs/man/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no manual pages: %v", err)
	}
	built := []string{"build/ostree-push"}
	for _, page := range pages {
		built = append(built, "build/man/"+strings.TrimSuffix(filepath.Base(page), ".md"))
	}
	for _, file := range built {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return func(args ...string) {
		t.Helper()
		cmd := exec.Command("make", append([]string{"-s", "-C", dir}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

// installed returns the files below root, by their paths there.
func installed(t *testing.T, root string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// pageLink is a link, or a picture, of a Markdown page to something beside it.
var pageLink = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)

// The pages that are installed lead to others that are, and uninstalling leaves nothing
// but what was there before.
func TestInstalledPages(t *testing.T) {
	t.Parallel()
	run := makeIn(t)
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	others := filepath.Join(root, "usr/bin/ostree")
	if err := os.WriteFile(others, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	run("install", "DESTDIR="+root, "PREFIX=/usr")
	links := 0
	for _, file := range installed(t, root) {
		if filepath.Ext(file) != ".md" {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range pageLink.FindAllStringSubmatch(string(content), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), link[1])); err != nil {
				t.Errorf("%s has a link to %s, which is not installed", strings.TrimPrefix(file, root), link[1])
			}
		}
	}
	if links == 0 {
		t.Error("the pages have no links")
	}
	run("uninstall", "DESTDIR="+root, "PREFIX=/usr")
	if left := installed(t, root); len(left) != 1 || left[0] != others {
		t.Errorf("uninstall leaves %q", left)
	}
}

// The README makes the account with the shell that has been installed, wherever that is.
func TestReadmeAccount(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can make an account")
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^ +useradd (.*) ostree$`).FindSubmatch(readme)
	if command == nil {
		t.Fatal("the README makes no account")
	}
	for _, prefix := range []string{"usr", "usr/local"} {
		bin := filepath.Join(t.TempDir(), prefix, "bin")
		if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		shell := filepath.Join(bin, "ostree-receive-shell")
		if err := os.WriteFile(shell, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		account := fmt.Sprintf("ostree-push-test-%08x", rand.Uint32())
		line := strings.ReplaceAll(string(command[1]), "/srv/ostree", filepath.Join(bin, "home"))
		cmd := exec.Command("sh", "-c", "useradd "+line+" "+account)
		cmd.Env = append(os.Environ(), "PATH="+bin+":/usr/sbin:/usr/bin:/sbin:/bin")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Cleanup(func() { exec.Command("userdel", "--force", account).Run() })
		out, err = exec.Command("getent", "passwd", account).Output()
		if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), ":"+shell) {
			t.Errorf("%v: %s, whose shell is not %s", err, out, shell)
		}
	}
}
