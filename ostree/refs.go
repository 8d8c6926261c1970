package ostree

// #include "glue.h"
import "C"

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ref is the name of a ref, such as "app/org.example.App/x86_64/stable",
// without a remote.
type Ref string

// MetadataRef is the ref of the generated repository metadata of repositories
// with a collection id.
const MetadataRef Ref = "ostree-metadata"

// refNames is what ostree_validate_rev allows, whose \w are the letters and
// digits of all scripts, but anchored so that no newline gets through at the
// end.
var refNames = regexp.MustCompile(`\A(?:[\pL\pN_][-.\pL\pN_]*/)*[\pL\pN_][-.\pL\pN_]*\z`)

// A ref is the path of a file.
const (
	maxRef     = 4095 // PATH_MAX, less the NUL
	maxRefPart = 255  // NAME_MAX
)

// ParseRef checks that s is a valid name for a ref. That excludes the names that
// libostree would fail to write when it has written others already.
func ParseRef(s string) (Ref, error) {
	if len(s) > maxRef {
		return "", fmt.Errorf("invalid ref name %.40q…: longer than %d bytes", s, maxRef)
	}
	if !refNames.MatchString(s) {
		return "", fmt.Errorf("invalid ref name %q", s)
	}
	if _, err := ParseChecksum(s); err == nil {
		return "", fmt.Errorf("invalid ref name %q: it looks like a checksum", s)
	}
	for part := range strings.SplitSeq(s, "/") {
		if len(part) > maxRefPart {
			return "", fmt.Errorf("invalid ref name %.40q…: a part of it is longer than %d bytes", s, maxRefPart)
		}
	}
	return Ref(s), nil
}

// Refs maps refs to the commits they point to.
type Refs map[Ref]Checksum

// Sorted returns the refs in the order of their names.
func (r Refs) Sorted() []Ref { return slices.Sorted(maps.Keys(r)) }

// RefList is what a repository has below refs/heads.
type RefList struct {
	// Refs are the refs that name a commit, which need not be there. Aliases
	// are among them, with the commit of the ref that they lead to.
	Refs Refs
	// Aliases are the refs that are links, with the ref that each leads to: "" if
	// that is none.
	Aliases map[Ref]Ref
	// Bad are the files that have the name of a ref and name no commit, and the directories
	// that cannot be read, with what is wrong with them.
	Bad map[Ref]error
}

// All returns the names of all that is there, with a commit or without.
func (l *RefList) All() Refs {
	all := maps.Clone(l.Refs)
	for ref := range l.Bad {
		all[ref] = Checksum{}
	}
	for ref := range l.Aliases {
		all[ref] = l.Refs[ref]
	}
	return all
}

// headsDir is where the local refs are, below the repository.
const headsDir = "refs/heads"

// Refs returns the local refs of the repository that name a commit: neither
// those of remotes nor those of mirrored collections.
func (r *Repo) Refs(ctx context.Context) (Refs, error) {
	list, err := r.ListRefs(ctx)
	if err != nil {
		return nil, err
	}
	return list.Refs, nil
}

// ListRefs lists the local refs. What libostree's own list
// (ostree_repo_list_refs_ext) fails at as a whole, such as one empty file or one
// link to nowhere, is in Bad here; what it leaves out, files whose name no ref can have,
// is left out here too.
func (r *Repo) ListRefs(ctx context.Context) (*RefList, error) {
	l := &refLister{
		ctx: ctx, heads: filepath.Join(r.path, headsDir),
		list: &RefList{Refs: Refs{}, Aliases: map[Ref]Ref{}, Bad: map[Ref]error{}},
	}
	if err := l.dir(""); err != nil {
		return nil, err
	}
	return l.list, nil
}

type refLister struct {
	ctx   context.Context
	heads string // directory
	list  *RefList
}

// dir lists a directory, by its path below heads.
func (l *refLister) dir(below string) error {
	if err := l.ctx.Err(); err != nil {
		return context.Cause(l.ctx)
	}
	entries, err := os.ReadDir(filepath.Join(l.heads, below))
	switch {
	case below == "" && err != nil:
		return err
	case errors.Is(err, fs.ErrNotExist):
		return nil // it has gone meanwhile
	case err != nil:
		l.list.Bad[Ref(below)] = pathless(err)
		return nil
	}
	for _, entry := range entries {
		if !refNames.MatchString(entry.Name()) {
			continue
		}
		name := path.Join(below, entry.Name())
		switch entry.Type() {
		case fs.ModeDir:
			err = l.dir(name)
		case 0, fs.ModeSymlink:
			err = l.file(name, entry)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file lists a file.
func (l *refLister) file(name string, entry fs.DirEntry) error {
	ref, err := ParseRef(name)
	if err != nil {
		l.list.Bad[Ref(name)] = err
		return nil
	}
	if entry.Type() == 0 && temporaryName.MatchString(entry.Name()) {
		if gone, err := l.waitForTemporary(name); err != nil || gone {
			return err
		}
	}
	var value refValue
	if entry.Type() == fs.ModeSymlink {
		value, err = readRef(l.heads, ref)
	} else {
		value.sum, err = readChecksumFile(filepath.Join(l.heads, name))
	}
	if value.isAlias {
		l.list.Aliases[ref] = value.alias
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && !value.isAlias:
	case errors.Is(err, fs.ErrNotExist):
		l.list.Bad[ref] = fmt.Errorf("it is an alias of %s, which is not there", value.alias)
	case err != nil:
		l.list.Bad[ref] = err
	default:
		l.list.Refs[ref] = value.sum
	}
	return nil
}

// temporaryName is what libostree calls the file that it writes beside a ref
// that it sets, and renames at once (glnx_file_replace_contents_at). A ref may have such a name, too.
var temporaryName = regexp.MustCompile(`\Atmp\.[A-Za-z0-9]{6}\z`)

// A temporary file is there for microseconds. One that stays so long was left by somebody who
// died; libostree takes it for a ref from then on.
const (
	temporaryLife = 2 * time.Second
	temporaryPoll = 5 * time.Millisecond
)

// waitForTemporary waits until a file that may be a temporary one is gone, or is
// too old to be one.
func (l *refLister) waitForTemporary(name string) (gone bool, err error) {
	for {
		var stat unix.Stat_t
		if unix.Lstat(filepath.Join(l.heads, name), &stat) != nil {
			return true, nil
		}
		age := time.Since(time.Unix(stat.Ctim.Unix()))
		if age < 0 || age > temporaryLife {
			return false, nil
		}
		select {
		case <-time.After(temporaryPoll):
		case <-l.ctx.Done():
			return false, context.Cause(l.ctx)
		}
	}
}

// refValue is what the file of a ref has.
type refValue struct {
	sum     Checksum
	isAlias bool
	alias   Ref // "": the link leads to no ref
}

// errNoCommit is that a ref's file names no commit.
var errNoCommit = errors.New("the file of the ref is empty, or has no checksum in it")

// readRef reads the file of a ref.
func readRef(heads string, ref Ref) (v refValue, err error) {
	file := filepath.Join(heads, string(ref))
	if link, err := os.Readlink(file); err == nil {
		v.isAlias = true
		v.alias = aliasOf(ref, link)
		if v.alias == "" {
			return v, fmt.Errorf("it is a link to %q, which is no ref", link)
		}
	}
	v.sum, err = readChecksumFile(file)
	return v, err
}

// readChecksumFile reads a file that has nothing but a checksum and white space in it. There
// may be a great many of them, so it makes no call more than it must.
func readChecksumFile(file string) (sum Checksum, err error) {
	fd := -1
	for fd, err = -1, unix.EINTR; err == unix.EINTR; {
		fd, err = unix.Open(file, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return sum, err
	}
	defer unix.Close(fd)
	var content [256]byte
	n := 0
	for n, err = 0, unix.EINTR; err == unix.EINTR; {
		n, err = unix.Read(fd, content[:])
	}
	if err != nil {
		return sum, err
	}
	if sum, err = ParseChecksum(string(bytes.TrimSpace(content[:n]))); err != nil {
		return sum, errNoCommit
	}
	return sum, nil
}

// aliasOf returns the ref that a link in the place of ref leads to, "" if none.
func aliasOf(ref Ref, link string) Ref {
	if path.IsAbs(link) {
		return ""
	}
	to, err := ParseRef(path.Join(path.Dir(string(ref)), link))
	if err != nil {
		return ""
	}
	return to
}

// pathless returns an error without the path that it names: whoever reports it
// names the ref.
func pathless(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// takeRefs reads a list of names and checksums, and frees it.
func takeRefs(list **C.char) (Refs, error) {
	defer C.g_strfreev(list)
	n := int(C.g_strv_length(list))
	strv := unsafe.Slice(list, n)
	refs := make(Refs, n/2)
	for i := 0; i+1 < n; i += 2 {
		ref, err := ParseRef(C.GoString(strv[i]))
		if err != nil {
			return nil, err
		}
		sum, err := ParseChecksum(C.GoString(strv[i+1]))
		if err != nil {
			return nil, fmt.Errorf("ref %s: %w", ref, err)
		}
		refs[ref] = sum
	}
	return refs, nil
}

// RefUpdate is a change of one local ref.
type RefUpdate struct {
	Ref Ref
	// Old is the commit that the ref has to show when it is changed, zero if
	// there has to be none.
	Old Checksum
	// New is the commit that it is to show then; zero deletes the ref.
	New Checksum
}

// RefChangedError is that a ref does not show what it should when it is to be changed:
// somebody else has changed it meanwhile.
type RefChangedError struct {
	Ref Ref
	Now Checksum // zero: it shows no commit
}

func (e *RefChangedError) Error() string {
	if e.Now.IsZero() {
		return fmt.Sprintf("ref %s is not there any more", e.Ref)
	}
	return fmt.Sprintf("ref %s shows commit %s now", e.Ref, e.Now)
}

// CheckRefUpdate returns an error if a ref could not be changed whoever tries: something stands in its place, or in
// that of one of its directories, that is not what it should be. A directory that is a link leads to where
// other refs are, or out of the repository.
func (r *Repo) CheckRefUpdate(ref Ref) error {
	heads := filepath.Join(r.path, headsDir)
	file := filepath.Join(heads, string(ref))
	info, err := os.Lstat(file)
	switch {
	case err == nil && info.IsDir():
		// libostree replaces one that has no refs in it.
	case err == nil && info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("ref %s is an alias", ref)
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("ref %s: its file is no regular file", ref)
	}
	for dir := filepath.Dir(file); dir != heads; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && info.IsDir():
		case err == nil:
			return fmt.Errorf("ref %s: %s is no directory", ref, r.below(dir))
		case !errors.Is(err, unix.ENOTDIR):
			return fmt.Errorf("ref %s: %w", ref, err)
		}
	}
	return nil
}

// below returns the part of a path that is below the repository.
func (r *Repo) below(path string) string {
	rel, err := filepath.Rel(r.path, path)
	if err != nil {
		return path
	}
	return rel
}

// UpdateRefs changes refs, one by one, and calls done for each one right after: nil
// if it was changed, a *RefChangedError if it did not show what it should, and then the others are
// changed all the same. Any other error ends it. libostree has no way to compare and set in one step:
// a change by somebody else in the microseconds between the two is lost.
//
// The summary is left alone, also where core.auto-update-summary is set.
func (r *Repo) UpdateRefs(ctx context.Context, updates []RefUpdate, done func(RefUpdate, error)) (err error) {
	// In a transaction libostree leaves the summary to its end, which does nothing about refs that
	// were set at once.
	t, err := r.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close(context.WithoutCancel(ctx))) }()
	for _, u := range updates {
		err := r.updateRef(ctx, u)
		changed := (*RefChangedError)(nil)
		if err == nil || errors.As(err, &changed) {
			done(u, err)
			continue
		}
		// It may have failed after the ref has moved.
		if r.shows(u.Ref, u.New) {
			done(u, nil)
		} else {
			done(u, err)
		}
		return err
	}
	return nil
}

func (r *Repo) updateRef(ctx context.Context, u RefUpdate) error {
	now, err := readRef(filepath.Join(r.path, headsDir), u.Ref)
	if err != nil {
		now.sum = Checksum{} // it is to be replaced
	}
	if now.sum != u.Old || now.isAlias {
		return &RefChangedError{u.Ref, now.sum}
	}
	c, done := cancellable(ctx)
	defer done()
	cref, freeRef := cstring(string(u.Ref))
	defer freeRef()
	var csum *C.char
	if !u.New.IsZero() {
		sum, freeSum := cstring(u.New.String())
		defer freeSum()
		csum = sum
	}
	var gerr *C.GError
	if C.ostree_repo_set_ref_immediate(r.c, nil, cref, csum, c, &gerr) == 0 {
		return fmt.Errorf("ref %s: %w", u.Ref, gerror(gerr))
	}
	return nil
}

// shows reports whether a ref shows a commit, or is not there if that is zero.
func (r *Repo) shows(ref Ref, sum Checksum) bool {
	now, err := readRef(filepath.Join(r.path, headsDir), ref)
	if errors.Is(err, fs.ErrNotExist) {
		return sum.IsZero()
	}
	return err == nil && now.sum == sum
}
