package ostree

// #include "glue.h"
import "C"

import (
	"fmt"
	"io/fs"
	"strings"
	"sync"
)

// Mode is how a repository stores its objects.
type Mode string

const (
	ModeBare         Mode = "bare"
	ModeArchive      Mode = "archive"
	ModeBareUser     Mode = "bare-user"
	ModeBareUserOnly Mode = "bare-user-only"
)

var modes = map[C.OstreeRepoMode]Mode{
	C.OSTREE_REPO_MODE_BARE:           ModeBare,
	C.OSTREE_REPO_MODE_ARCHIVE:        ModeArchive,
	C.OSTREE_REPO_MODE_BARE_USER:      ModeBareUser,
	C.OSTREE_REPO_MODE_BARE_USER_ONLY: ModeBareUserOnly,
}

// Number returns the mode as libostree's OstreeRepoMode numbers it.
func (m Mode) Number() int32 {
	for number, mode := range modes {
		if mode == m {
			return int32(number)
		}
	}
	return -1
}

// Repo is an open repository. It holds file descriptors until Close. Several
// goroutines may use one Repo, except that a transaction belongs to one.
type Repo struct {
	mu   sync.Mutex // Close and hold may be called at once
	c    *C.OstreeRepo
	path string
}

// Open opens the repository in the directory path.
func Open(path string) (*Repo, error) {
	cpath, free := cstring(path)
	defer free()
	return open(cpath)
}

// OpenDefault opens the repository that libostree takes when none is named:
// the current directory if it is one, else $OSTREE_REPO, else /ostree/repo.
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

// CreateOptions is what Create writes into the new repository's config.
type CreateOptions struct {
	// Parent is the path of a repository in which objects that are not in
	// this one are looked up; "" is none.
	Parent string
	// Core has further options of the group "core".
	Core map[string]string
}

// Create makes a repository of the given mode in the directory path, whose
// parent exists, and opens it.
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
	c := C.op_repo_create(cpath, cmode, &gerr)
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
	return &Repo{c: c, path: takeString(C.op_repo_path(c))}
}

// Close gives the repository back. It must be the last call, and may be
// repeated. Pull and FetchSummary may still be at work then.
func (r *Repo) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.c != nil {
		C.g_object_unref(C.gpointer(r.c))
		r.c = nil
	}
}

// hold returns the OstreeRepo with a reference for a call that is not always
// waited for, so that Close may come before its end.
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

// Path returns the path that the repository was opened with.
func (r *Repo) Path() string { return r.path }

// Parents returns the paths of the repositories in which objects that are not
// in this one are looked up, in that order.
func (r *Repo) Parents() []string {
	var paths []string
	for parent := C.ostree_repo_get_parent(r.c); parent != nil; parent = C.ostree_repo_get_parent(parent) {
		paths = append(paths, takeString(C.op_repo_path(parent)))
	}
	return paths
}

// Mode returns the repository's mode.
func (r *Repo) Mode() Mode { return modes[C.ostree_repo_get_mode(r.c)] }

// CollectionID returns the repository's collection id, "" if it has none.
func (r *Repo) CollectionID() string {
	return C.GoString(C.ostree_repo_get_collection_id(r.c))
}

// CoreOption returns the option key of the group "core" of the repository's
// config, as it is written there, "" if it is not set.
func (r *Repo) CoreOption(key string) string { return r.ConfigOption("core", key) }

// ConfigOption returns the option key of a group of the repository's config, as CoreOption does.
func (r *Repo) ConfigOption(group, key string) string {
	cgroup, freeGroup := cstring(group)
	defer freeGroup()
	ckey, freeKey := cstring(key)
	defer freeKey()
	return takeString(C.op_repo_get_config(r.c, cgroup, ckey))
}

// MinFreeSpace returns how many bytes are to stay free on the repository's file
// system, by its options core.min-free-space-size and -percent.
func (r *Repo) MinFreeSpace() (uint64, error) {
	var (
		bytes C.guint64
		gerr  *C.GError
	)
	if C.ostree_repo_get_min_free_space_bytes(r.c, &bytes, &gerr) == 0 {
		return 0, gerror(gerr)
	}
	return uint64(bytes), nil
}

// AddRemote configures a remote whose commits and summary are not verified when
// they are pulled. options are added to its group of the config.
func (r *Repo) AddRemote(name, url string, options map[string]string) error {
	group := remoteGroup(name)
	config := []string{
		group, "url", url,
		group, "gpg-verify", "false",
		group, "gpg-verify-summary", "false",
	}
	for key, value := range options {
		config = append(config, group, key, value)
	}
	cconfig, free := cstrv(config)
	defer free()
	var gerr *C.GError
	if C.op_repo_set_config(r.c, cconfig, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

func remoteGroup(name string) string { return fmt.Sprintf("remote %q", name) }
