package ostree

// #include "dirtree.h"
import "C"

// Tree is the root of a commit's content: the checksums of its dirtree and of
// its dirmeta. Commits with equal trees have the same content.
type Tree struct {
	Contents, Meta Checksum
}

// DirTree returns what is in a dirtree: the checksums of its files, and of the
// trees below it.
func (r *Repo) DirTree(sum Checksum) (files []Checksum, dirs []Tree, err error) {
	csum, free := cstring(sum.String())
	defer free()
	var (
		nfiles C.gsize
		gerr   *C.GError
	)
	all := C.op_dirtree_children(r.c, csum, &nfiles, &gerr)
	if all == nil {
		return nil, nil, gerror(gerr)
	}
	raw := takeBytes(all)
	for range int(nfiles) {
		files = append(files, Checksum(raw[:32]))
		raw = raw[32:]
	}
	for ; len(raw) > 0; raw = raw[64:] {
		dirs = append(dirs, Tree{Contents: Checksum(raw[:32]), Meta: Checksum(raw[32:64])})
	}
	return files, dirs, nil
}
