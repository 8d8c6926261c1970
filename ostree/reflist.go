package ostree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

// RefList is what a repository has below refs/heads: a ref is a file there, or a link to one.
type RefList struct {
	// Refs has the refs that name a commit, which need not be in the repository. An alias
	// has the commit of the ref that it leads to.
	Refs Refs
	// Aliases has the refs that are links, and the ref that each leads to: "" for a link
	// to something else.
	Aliases map[Ref]Ref
	// Bad has the files that are called like a ref and name no commit, and the directories
	// that cannot be read, each with what is wrong. The errors do not name the ref.
	Bad map[Ref]error
}

// All returns all names of the list, good and bad. The zero Checksum is that of a ref without a commit.
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

// Refs returns the local refs that name a commit, as RefList.Refs has them. Refs of remotes and of
// mirrored collections are not local.
func (r *Repo) Refs(ctx context.Context) (Refs, error) {
	list, err := r.ListRefs(ctx)
	if err != nil {
		return nil, err
	}
	return list.Refs, nil
}

// ListRefs lists the local refs. A ref that cannot be read is in RefList.Bad;
// ostree_repo_list_refs_ext fails as a whole at one empty file, or one link to nowhere. Files whose name
// no ref can have are left out. It is an error if refs/heads cannot be read. When ctx is done, the error
// is context.Cause(ctx), not ErrCancelled.
func (r *Repo) ListRefs(ctx context.Context) (*RefList, error) {
	l := r.refLister(ctx)
	if err := l.dir(""); err != nil {
		return nil, err
	}
	return l.list, nil
}

// ReadRefs is ListRefs for some names alone, and looks at nothing else. A name that is no ref, or is not there, is in none of
// the maps.
func (r *Repo) ReadRefs(ctx context.Context, refs []Ref) (*RefList, error) {
	l := r.refLister(ctx)
	if err := l.tryDir(""); err != nil {
		return nil, err
	}
	for _, ref := range refs {
		if err := l.read(string(ref)); err != nil {
			return nil, err
		}
	}
	return l.list, nil
}

// RefsBelow is ListRefs for the directory that has the name of a ref, if there is one. If it cannot be read, it is bad itself.
func (r *Repo) RefsBelow(ctx context.Context, ref Ref) (*RefList, error) {
	l := r.refLister(ctx)
	if mode, err := l.typeOf(string(ref)); err != nil || mode != fs.ModeDir {
		return l.list, nil
	}
	return l.list, l.dir(string(ref))
}

type refLister struct {
	ctx   context.Context
	heads string // directory
	list  *RefList
	dirs  map[string]error // below heads: nil, or why they are none
}

func (r *Repo) refLister(ctx context.Context) *refLister {
	return &refLister{
		ctx: ctx, heads: filepath.Join(r.path, headsDir), dirs: map[string]error{},
		list: &RefList{Refs: Refs{}, Aliases: map[Ref]Ref{}, Bad: map[Ref]error{}},
	}
}

// read lists one name, as dir comes to it.
func (l *refLister) read(name string) error {
	if err := l.ctx.Err(); err != nil {
		return context.Cause(l.ctx)
	}
	if !isRefName(name) {
		return nil
	}
	mode, err := l.typeOf(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR):
		return nil
	case err == nil && (mode == 0 || mode == fs.ModeSymlink):
		return l.file(name, mode)
	case err == nil && mode == fs.ModeDir:
		err = l.tryDir(name)
	}
	if err != nil {
		l.list.Bad[Ref(name)] = pathless(err)
	}
	return nil
}

// typeOf returns the type of the file of a name. The directories that it is in are no links: whoever lists does not
// follow those either.
func (l *refLister) typeOf(name string) (fs.FileMode, error) {
	if dir := path.Dir(name); dir != "." {
		if err := l.isDir(dir); err != nil {
			return 0, err
		}
	}
	info, err := os.Lstat(filepath.Join(l.heads, name))
	if err != nil {
		return 0, err
	}
	return info.Mode().Type(), nil
}

// isDir returns nil if a name is that of a directory, and else why not.
func (l *refLister) isDir(name string) error {
	err, known := l.dirs[name]
	if known {
		return err
	}
	mode, err := l.typeOf(name)
	if err == nil && mode != fs.ModeDir {
		err = unix.ENOTDIR
	}
	l.dirs[name] = err
	return err
}

// tryDir returns an error if a directory cannot be read.
func (l *refLister) tryDir(name string) error {
	f, err := os.Open(filepath.Join(l.heads, name))
	if err != nil {
		return err
	}
	return f.Close()
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
		if !isRefName(entry.Name()) {
			continue
		}
		name := path.Join(below, entry.Name())
		switch entry.Type() {
		case fs.ModeDir:
			err = l.dir(name)
		case 0, fs.ModeSymlink:
			err = l.file(name, entry.Type())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file lists a file.
func (l *refLister) file(name string, mode fs.FileMode) error {
	ref, err := ParseRef(name)
	if err != nil {
		l.list.Bad[Ref(name)] = err
		return nil
	}
	if mode == 0 && temporaryName.MatchString(path.Base(name)) {
		if gone, err := l.waitForTemporary(name); err != nil || gone {
			return err
		}
	}
	var value refValue
	if mode == fs.ModeSymlink {
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

// temporaryName matches the names of the files that libostree writes beside a ref that it sets, and
// renames at once (glnx_file_replace_contents_at). A ref may have such a name, too.
var temporaryName = regexp.MustCompile(`\Atmp\.[A-Za-z0-9]{6}\z`)

// A temporary file is there for microseconds. One that stays so long was left by somebody who
// died; libostree takes it for a ref from then on.
const (
	temporaryLife = 2 * time.Second
	temporaryPoll = 5 * time.Millisecond
)

// waitForTemporary waits until a file that may be a temporary one is gone, or too old for that.
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

// pathless returns the cause of an error that names a path: whoever reports it names the ref.
func pathless(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}
