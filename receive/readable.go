package receive

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ostree-push/ostree"
	"ostree-push/report"
)

// warnOfUnreadable warns if those who can read the repository, such as a web server, cannot read
// all that has been published: libostree makes new directories with what the umask leaves.
func (r *receiver) warnOfUnreadable(moved []ostree.Ref) {
	repo := r.target.Path()
	want := permOf(repo) & permOf(filepath.Join(repo, "objects")) & 0o055
	var hidden []string
	for _, name := range published(repo, moved) {
		need := want
		info, err := os.Lstat(filepath.Join(repo, name))
		if err != nil {
			continue
		}
		if !info.IsDir() {
			need &= 0o044
		}
		if info.Mode()&need != need {
			hidden = append(hidden, name)
		}
	}
	if len(hidden) == 0 {
		return
	}
	more := ""
	if n := len(hidden) - 1; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	var tops []string
	for _, name := range hidden {
		top, _, _ := strings.Cut(name, "/")
		tops = append(tops, top)
	}
	slices.Sort(tops)
	r.sink.Log(report.Warning, fmt.Sprintf("others, such as a web server, can read repo %s, but not %s%s in it: "+
		"give this account the umask %03o, and once, in the repository, chmod -R %s+rX %s",
		report.Printable(r.repo.Name), hidden[0], more, 0o077&^want, whom(want), strings.Join(slices.Compact(tops), " ")))
}

// published returns what a client reads of a repository besides objects, and where it is.
func published(repo string, moved []ostree.Ref) (names []string) {
	seen := map[string]bool{}
	for _, ref := range moved {
		dir := filepath.Join("refs/heads", string(ref))
		for dir = filepath.Dir(dir); dir != "." && !seen[dir]; dir = filepath.Dir(dir) {
			seen[dir] = true
			names = append(names, dir)
		}
	}
	for _, pattern := range []string{"objects/*", "summary*", "summaries", "deltas", "deltas/*"} {
		found, _ := fs.Glob(os.DirFS(repo), pattern)
		names = append(names, found...)
	}
	return names
}

// permOf returns the permissions of a file, none if there is no such file.
func permOf(path string) fs.FileMode {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Mode().Perm()
}

// whom returns who has permissions, as chmod calls them.
func whom(perm fs.FileMode) string {
	who := ""
	if perm&0o050 != 0 {
		who += "g"
	}
	if perm&0o005 != 0 {
		who += "o"
	}
	return who
}
