package ostree

// #include "config.h"
import "C"

// CoreOption returns the value of an option in the group "core" of the repository's config, as
// ConfigOption does.
func (r *Repo) CoreOption(key string) string { return r.ConfigOption("core", key) }

// ConfigOption returns the value of an option in a group of the repository's config, as text, with GKeyFile's
// escapes resolved; "" if it is not set.
func (r *Repo) ConfigOption(group, key string) string {
	cgroup, freeGroup := cstring(group)
	defer freeGroup()
	ckey, freeKey := cstring(key)
	defer freeKey()
	return takeString(C.op_repo_get_config(r.c, cgroup, ckey))
}

// MinFreeSpace returns how many bytes have to stay free on the repository's file system, by the
// options core.min-free-space-size and core.min-free-space-percent of its config.
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
