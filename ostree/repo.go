package ostree

// #include "config.h"
// #include "repo.h"
import "C"

import (
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
)

// Repo is an open repository. It holds file descriptors until Close. Any number of goroutines may use
// one Repo, which has one Transaction at a time.
type Repo struct {
	mu   sync.Mutex // for c, between Close and hold
	c    *C.OstreeRepo
	path string

	staged atomic.Bool // the open transaction may have staged something
}

// Open opens the repository in the directory path. The error is ErrNotFound if nothing is there. The caller
// closes the Repo.
func Open(path string) (*Repo, error) {
	cpath, free := cstring(path)
	defer free()
	return open(cpath)
}

// OpenDefault opens the repository that libostree takes when none is named (ostree_repo_new_default):
// the current directory if it is one, else $OSTREE_REPO, else /ostree/repo. The caller closes the Repo.
func OpenDefault() (*Repo, error) {
	return open(nil)
}

func open(path *C.char) (*Repo, error) {
	var gerr *C.GError
	c := C.op_repo_open(path, &gerr)
	if c == nil {
		return nil, gerror(gerr)
	}
	return newRepo(c), nil
}

// CreateOptions are the settings that Create writes into the config of a new repository. None may have a
// line break.
type CreateOptions struct {
	// Parent is the path of a repository in which objects are looked up that are not in
	// the new one; "" for none.
	Parent string
	// Core has options of the group "core" besides the mode, by their keys.
	Core map[string]string
}

// Create makes a repository in the directory path, and opens it. The directory may be missing; the one above
// may not. The caller closes the Repo.
func Create(path string, mode Mode, opts CreateOptions) (*Repo, error) {
	var cmode C.OstreeRepoMode
	cname, free := cstring(string(mode))
	defer free()
	var gerr *C.GError
	if C.ostree_repo_mode_from_string(cname, &cmode, &gerr) == 0 {
		return nil, gerror(gerr)
	}
	config := []string{}
	for key, value := range opts.Core {
		config = append(config, "core", key, value)
	}
	if opts.Parent != "" {
		config = append(config, "core", "parent", opts.Parent)
	}
	for _, value := range config {
		if strings.ContainsAny(value, "\r\n") {
			return nil, fmt.Errorf("%q has a line break in it, which a repository's config cannot have", value)
		}
	}

	cpath, freePath := cstring(path)
	defer freePath()
	c := C.ostree_repo_create_at(C.AT_FDCWD, cpath, cmode, nil, nil, &gerr)
	if c == nil {
		return nil, gerror(gerr)
	}
	defer C.g_object_unref(C.gpointer(c))
	cconfig, freeConfig := cstrv(config)
	defer freeConfig()
	if C.op_repo_set_config(c, cconfig, &gerr) == 0 {
		return nil, gerror(gerr)
	}
	// A repository learns of its path and its parent when it is opened.
	return open(cpath)
}

func newRepo(c *C.OstreeRepo) *Repo {
	return &Repo{c: c, path: pathOf(c)}
}

// pathOf returns the path of a repository's directory.
func pathOf(c *C.OstreeRepo) string {
	return takeString(C.g_file_get_path(C.ostree_repo_get_path(c)))
}

// Close closes the repository, once; later calls of Close do nothing. Nothing else may be called at
// the same time or later, but for Pull and FetchSummary: they go on, or return fs.ErrClosed.
func (r *Repo) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.c != nil {
		C.g_object_unref(C.gpointer(r.c))
		r.c = nil
	}
}

// hold returns the OstreeRepo with a reference of its own until release, for a call that may outlive
// Close. After Close the error is fs.ErrClosed.
func (r *Repo) hold() (repo *C.OstreeRepo, release func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	repo = r.c
	if repo == nil {
		return nil, nil, fs.ErrClosed
	}
	C.g_object_ref(C.gpointer(repo))
	return repo, func() { C.g_object_unref(C.gpointer(repo)) }, nil
}

// Path returns the absolute path of the repository's directory. Links in it are not resolved.
func (r *Repo) Path() string { return r.path }

// Parents returns the paths of the repositories in which objects are looked up that are not in this one:
// the one that core.parent names, its parent, and so on.
func (r *Repo) Parents() []string {
	var paths []string
	for parent := C.ostree_repo_get_parent(r.c); parent != nil; parent = C.ostree_repo_get_parent(parent) {
		paths = append(paths, pathOf(parent))
	}
	return paths
}

// CollectionID returns the collection id of the repository (core.collection-id), "" if it has none.
func (r *Repo) CollectionID() string {
	return C.GoString(C.ostree_repo_get_collection_id(r.c))
}
