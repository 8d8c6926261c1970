package receive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"ostree-push/cli"
	"ostree-push/ostree"
	"ostree-push/receive/locate"
	"ostree-push/report"
)

// This file finds what another account has left in a repository that this one
// may not write: `ostree commit`, `ostree prune` or `flatpak build-update-repo` by root make
// directories and files of root's. Each of them would end a receive at another
// moment, after its content has travelled or after refs have moved.

// What has to be allowed, if it is there at all.
const (
	toRead  = unix.R_OK
	toOpen  = unix.R_OK | unix.W_OK
	toFill  = unix.R_OK | unix.W_OK | unix.X_OK
	toEnter = unix.R_OK | unix.X_OK
)

// needed are what a receive reads, writes and replaces, by patterns below the repository.
// Objects are left out, of which there are too many: they are written once, and
// whoever may write the directory may add to them.
var needed = []struct {
	pattern string
	mode    uint32
}{
	{".", toFill},
	{"config", toRead},
	{".lock", toOpen},
	{lockName, toOpen},
	{pendingName, toRead},
	{"objects", toFill},
	{"objects/??", toFill},
	{"tmp", toFill},
	{"tmp/cache", toFill},
	// What a transaction of libostree's has left, which the next one removes or uses. A
	// directory without its lock belongs to nobody who is at work.
	{"tmp/staging-*-lock", toOpen},
	{"state", toFill},
	{"refs", toEnter},
	{"refs/heads", toFill},
	{"refs/heads/appstream*", toFill},
	{"refs/heads/appstream*/*", toRead},
	{"deltas", toEnter},
	{"deltas/*", toEnter},
	{"delta-indexes", toFill},
	{"delta-indexes/*", toFill},
	{"summaries", toFill},
	{"summary", toRead},
	{"summary.sig", toRead},
	{"summary.idx", toRead},
	{"summary.idx.sig", toRead},
}

// checkWritableAll returns an error that names the first thing in a repository which a
// receive needs and may not have, whatever refs it brings.
func checkWritableAll(at *locate.Location) error {
	repo := at.Path()
	for _, need := range needed {
		paths, err := fs.Glob(os.DirFS(repo), need.pattern)
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := checkAccess(at, filepath.Join(repo, path), need.mode); err != nil {
				return err
			}
		}
	}
	return checkStaging(at)
}

// checkRefsReadable returns an error that names the first ref of a repository which this account may not read: a summary lists all,
// whichever of them move. What else may be wrong with a ref does not keep others from moving.
func checkRefsReadable(at *locate.Location) error {
	repo := at.Path()
	return filepath.WalkDir(filepath.Join(repo, "refs/heads"), func(path string, entry fs.DirEntry, err error) error {
		mode := uint32(toRead)
		if err != nil || entry.IsDir() {
			mode = toEnter
		}
		if err := checkAccess(at, path, mode); errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	})
}

// checkStaging looks at the directories of transactions that are over.
func checkStaging(at *locate.Location) error {
	repo := at.Path()
	dirs, err := fs.Glob(os.DirFS(repo), "tmp/staging-*")
	for _, dir := range dirs {
		dir = filepath.Join(repo, dir)
		if strings.HasSuffix(dir, "-lock") || unix.Access(dir+"-lock", unix.F_OK) == nil {
			continue
		}
		if err := checkAccess(at, dir, toFill); err != nil {
			return err
		}
	}
	return err
}

// checkRefsWritable returns an error that names the first directory in which one of the refs
// is to be set, and may not be.
func checkRefsWritable(at *locate.Location, refs []ostree.Ref) error {
	heads := filepath.Join(at.Path(), "refs/heads")
	checked := map[string]bool{}
	for _, ref := range refs {
		dir := filepath.Dir(filepath.Join(heads, string(ref)))
		// What is not there yet is made in the directory above.
		for len(dir) > len(heads) && unix.Access(dir, unix.F_OK) == unix.ENOENT {
			dir = filepath.Dir(dir)
		}
		if checked[dir] {
			continue
		}
		checked[dir] = true
		if err := checkAccess(at, dir, toFill); err != nil {
			return err
		}
	}
	return nil
}

// checkAccess returns an error if this account may not do that with what is at path in
// the repository. That there is nothing is none.
func checkAccess(at *locate.Location, path string, mode uint32) error {
	err := unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	below, relErr := filepath.Rel(at.Path(), path)
	if relErr != nil {
		below = path
	}
	verb := "written"
	if mode&unix.W_OK == 0 {
		verb = "read"
	}
	err = fmt.Errorf("repo %s cannot be %s: %s%s: %w", report.Printable(at.Name), verb, report.Printable(below), ownedBy(path), err)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return cli.Hint(err, "all of the repository has to belong to the account that receives; as root on the server: chown -R %s %s", accountName(uint32(os.Geteuid())), report.Printable(at.Name))
}

// ownedBy says whose a file is, if it is another account's.
func ownedBy(path string) string {
	var stat unix.Stat_t
	if unix.Stat(path, &stat) != nil || stat.Uid == uint32(os.Geteuid()) {
		return ""
	}
	return fmt.Sprintf(" (of %s)", accountName(stat.Uid))
}

// accountName returns the name of an account, or its number if it has none.
func accountName(uid uint32) string {
	number := fmt.Sprint(uid)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}
