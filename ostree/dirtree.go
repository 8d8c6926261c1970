package ostree

// #include "dirtree.h"
import "C"

import "bytes"

// Tree is a directory: the checksum of the dirtree, which is what is in the directory, and that of the dirmeta,
// which has its owner and mode. Equal Trees have the same content.
type Tree struct {
	Contents, Meta Checksum
}

// Dir is a directory that is in another one.
type Dir struct {
	Name string // not checked: it need not be a path, nor be text
	Tree
}

// DirTree returns the objects that a dirtree names: its files, and the directories in it. The dirtree has to be
// well-formed; its checksum is not compared. The error is ErrNotFound if the dirtree is neither in the repository nor in
// a parent of it.
func (r *Repo) DirTree(sum Checksum) (files []Checksum, dirs []Dir, err error) {
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
	for len(raw) > 0 {
		dir := Dir{Tree: Tree{Contents: Checksum(raw[:32]), Meta: Checksum(raw[32:64])}}
		name, rest, _ := bytes.Cut(raw[64:], []byte{0})
		dir.Name, raw = string(name), rest
		dirs = append(dirs, dir)
	}
	return files, dirs, nil
}
