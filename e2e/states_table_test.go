package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ostree-push/internal/otrepo"
	"ostree-push/ostree"
)

// contentStates are those in which a target lacks objects. What the pusher has mends them,
// whether it pushes a commit that shares them or the one that lacks them.
func contentStates() []state {
	var all []state
	for _, s := range []state{
		{name: "whole", make: func(*testing.T, *world) {}},
		// A prune that was interrupted, or a power failure: libostree moves and removes
		// objects one by one, in no order.
		{name: "trees without files", make: func(t *testing.T, w *world) {
			remove(t, objectFiles(t, w.target, "filez")...)
		}},
		{name: "files without trees", make: func(t *testing.T, w *world) {
			remove(t, objectFiles(t, w.target, "dirtree")...)
		}},
		{name: "trees without dirmeta", make: func(t *testing.T, w *world) {
			remove(t, objectFiles(t, w.target, "dirmeta")...)
		}},
		{name: "a tree without those below", make: func(t *testing.T, w *world) {
			remove(t, treeObject(t, w, "/sub/deep")+".dirtree")
		}},
		// A pull of the commit only, as for `ostree log`, marks it as partial. In a mirror,
		// a ref shows it.
		{name: "a pull of the commit only", make: func(t *testing.T, w *world) {
			w.emptied(t)
			mirror(t, w, "--commit-metadata-only")
		}},
		{name: "a pull of a part", make: func(t *testing.T, w *world) {
			w.emptied(t)
			mirror(t, w, "--subpath=/sub/deep")
		}},
		{name: "fsck --delete", make: fsckDelete},
		{name: "an interrupted prune", make: interruptPrune},
		// Killed, or out of power, when two objects had been moved.
		{name: "a killed receiver", make: wasKilled},
		{name: "a killed receiver and another boot", make: func(t *testing.T, w *world) {
			wasKilled(t, w)
			reboot(t, w)
		}},
		// The machine has gone down while objects were being moved; those that were not
		// are in a staging directory that no process looks into again.
		{name: "files in a staging directory of another boot", make: func(t *testing.T, w *world) {
			stage(t, w, objectFiles(t, w.target, "filez")...)
		}},
		{name: "trees in a staging directory of another boot", make: func(t *testing.T, w *world) {
			stage(t, w, objectFiles(t, w.target, "dirtree")...)
		}},
	} {
		all = append(all, s)
		s.name += ", the same commit"
		s.refs = []string{"again"}
		all = append(all, s)
	}
	return append(all,
		// What the pusher has published before, as it was, on another ref of its own: x/testing
		// is made from x/dev.
		state{name: "the commit has been pushed", refs: []string{"other", "again"}, make: func(t *testing.T, w *world) {
			w.emptied(t)
			if said := w.pushWith(t, nil, "main"); said.err != nil {
				t.Fatal(said.err, said.stderr)
			}
			output(t, "ostree", "--repo="+w.source, "refs", "--create=other", "main")
		}},
		state{name: "nobody has the files", fails: anObject, make: func(t *testing.T, w *world) {
			remove(t, objectFiles(t, w.target, "filez")...)
			remove(t, fileObject(t, w, "/sub/b"))
		}},
	)
}

// mirror pulls as a mirror does, from the source's again.
func mirror(t *testing.T, w *world, option string) {
	t.Helper()
	output(t, "ostree", "--repo="+w.target, "remote", "add", "--no-gpg-verify", "o", "file://"+w.source)
	// Another name, so that again is new to it.
	output(t, "ostree", "--repo="+w.source, "refs", "--create=mirrored", "again")
	output(t, "ostree", "--repo="+w.target, "pull", "--mirror", option, "o", "mirrored")
}

// fsckDelete has a file of the target damaged, as a disk may, and found by the
// administrator, who has it deleted.
func fsckDelete(t *testing.T, w *world) {
	t.Helper()
	sum := strings.Fields(output(t, "ostree", "--repo="+w.target, "ls", "-C", "main", "/sub/b"))[4]
	path := objectOf(w.target, sum) + ".filez"
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-1] ^= 1
	remove(t, path)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	try(t, "ostree", "--repo="+w.target, "fsck", "-q", "--delete") // fails
	if _, err := os.Stat(path); err == nil {
		t.Fatal("it is still there")
	}
}

// interruptPrune removes the ref of the target's commit, and ends a prune at a moment at which
// there are trees of which something is gone.
func interruptPrune(t *testing.T, w *world) {
	t.Helper()
	output(t, "ostree", "--repo="+w.target, "refs", "--delete", "main")
	for n := 2; ; n++ {
		trial := w.copied(t)
		m := moment{library: w.library, call: "unlinkat", dir: filepath.Join(trial.target, "objects"), number: n}
		if !m.killed(t, "ostree", "--repo="+trial.target, "prune", "--refs-only") {
			t.Fatal("at no moment, a tree lacks something")
		}
		if hasLackingTree(t, trial.target) {
			*w = *trial
			return
		}
	}
}

// hasLackingTree reports whether there is a tree without something that it names.
func hasLackingTree(t *testing.T, dir string) bool {
	t.Helper()
	repo, err := ostree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	lacks := func(kind ostree.ObjectType, sum ostree.Checksum) bool {
		has, err := repo.HasObject(t.Context(), kind, sum)
		if err != nil {
			t.Fatal(err)
		}
		return !has
	}
	trees, _ := filepath.Glob(filepath.Join(dir, "objects", "*", "*.dirtree"))
	for _, path := range trees {
		files, dirs, err := repo.DirTree(sumOf(t, strings.TrimPrefix(path, dir)))
		if err != nil {
			t.Fatal(err)
		}
		for _, sum := range files {
			if lacks(ostree.ObjectFile, sum) {
				return true
			}
		}
		for _, tree := range dirs {
			if lacks(ostree.ObjectDirTree, tree.Contents) || lacks(ostree.ObjectDirMeta, tree.Meta) {
				return true
			}
		}
	}
	return false
}

// killReceiver kills the receiver of a first push of the older commit, at the third object
// that moves into the repository, which it returns.
func killReceiver(t *testing.T, w *world) string {
	t.Helper()
	w = w.copied(t)
	w.transport = "stream"
	w.emptied(t)
	m := moment{library: w.library, call: "renameat", dir: filepath.Join(w.target, "objects"), number: 3}
	said := w.pushWith(t, []string{m.command(t)}, "again")
	if staged := stagingDirs(t, w); said.err == nil || len(staged) == 0 {
		t.Fatalf("%v; staged: %v\n%s", said.err, staged, said.stderr)
	}
	if refs := refFiles(t, w.target); len(refs) > 0 {
		t.Fatalf("refs have moved: %v", refs)
	}
	return w.target
}

func wasKilled(t *testing.T, w *world) {
	dir := filepath.Join(t.TempDir(), "target")
	copyRepo(t, dir, w.killed)
	w.setTarget(dir)
}

// anotherBoot is a boot id that the machine has not.
const anotherBoot = "01234567-89ab-cdef-0123-456789abcdef"

// stagingDirs returns the directories in which libostree stages objects, and their locks.
func stagingDirs(t *testing.T, w *world) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(w.target, "tmp", "staging-*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// reboot has it that the machine has started again: what libostree stages has the boot id in
// its name.
func reboot(t *testing.T, w *world) {
	t.Helper()
	for _, dir := range stagingDirs(t, w) {
		name := []byte(filepath.Base(dir))
		copy(name[len("staging-"):], anotherBoot)
		if err := os.Rename(dir, filepath.Join(filepath.Dir(dir), string(name))); err != nil {
			t.Fatal(err)
		}
	}
}

// stage moves every second object to a staging directory of another boot, where it was before it
// got into the repository.
func stage(t *testing.T, w *world, objects ...string) {
	t.Helper()
	for i, path := range objects {
		if i%2 != 0 {
			continue
		}
		to := filepath.Join(w.target, "tmp", "staging-"+anotherBoot+"-AbCdEf",
			filepath.Base(filepath.Dir(path)), filepath.Base(path))
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.Rename(path, to)); err != nil {
			t.Fatal(err)
		}
	}
}

// treeObject is the path in the target of the dirtree of a directory of the source's again, without the
// extension; fileObject that of a file in the source.
func treeObject(t *testing.T, w *world, dir string) string {
	t.Helper()
	return objectOf(w.target, strings.Fields(output(t, "ostree", "--repo="+w.source, "ls", "-d", "-C", "again", dir))[4])
}

func fileObject(t *testing.T, w *world, file string) string {
	t.Helper()
	return objectOf(w.source, strings.Fields(output(t, "ostree", "--repo="+w.source, "ls", "-C", "main", file))[4]) + ".filez"
}

// refStates are those of the files below a target's refs/. Bad ones are warned of, and may be
// replaced.
func refStates() []state {
	dangling := strings.Repeat("d", 64) + "\n"
	main := func(content string) func(*testing.T, *world) { return refFile("heads/main", content) }
	other := func(content string) func(*testing.T, *world) { return refFile("heads/other", content) }
	return []state{
		// The commit has been deleted by fsck, or has not survived a power failure, which
		// may also leave an empty file, or one of zeros.
		{name: "no commit", make: main(dangling)},
		{name: "an empty file", make: main("")},
		{name: "zeros", make: main(strings.Repeat("\x00", 65))},
		{name: "garbage", make: main("This is no checksum.\n")},
		{name: "no commit of another", make: other(dangling), warns: `\bother\b`},
		{name: "an empty file of another", make: other(""), warns: `\bother\b`},
		{name: "zeros of another", make: other(strings.Repeat("\x00", 65)), warns: `\bother\b`},
		{name: "garbage of another", make: other("This is no checksum.\n"), warns: `\bother\b`},
		{name: "a remote's and a mirror's without commit", noSummary: true, make: func(t *testing.T, w *world) {
			refFile("remotes/o/main", dangling)(t, w)
			refFile("mirrors/org.example.A/main", dangling)(t, w)
		}},

		// ostree refs -A.
		{name: "an alias of it", make: func(t *testing.T, w *world) {
			output(t, "ostree", "--repo="+w.target, "refs", "-A", "--create=stable", "main")
		}},
		{name: "an alias", fails: `\bmain\b`, make: func(t *testing.T, w *world) {
			output(t, "ostree", "--repo="+w.target, "refs", "--create=stable", "main")
			output(t, "ostree", "--repo="+w.target, "refs", "--delete", "main")
			output(t, "ostree", "--repo="+w.target, "refs", "-A", "--create=main", "stable")
		}},
		// What it was one of has been deleted.
		{name: "an alias of nothing", make: refLink("heads/other", "nothing")},

		// What administrators and file systems leave: an editor's backup, a file that was
		// removed over NFS while it was open, links, a pipe.
		{name: "a backup", make: refFile("heads/main~", dangling)},
		{name: "a file of NFS", make: refFile("heads/.nfs00000000017a2d1c0000002b", dangling)},
		{name: "a link out of the repository", make: func(t *testing.T, w *world) {
			secret := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(secret, []byte("secret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			refLink("heads/other", secret)(t, w)
		}},
		{name: "a link to itself", make: refLink("heads/other", "other")},
		{name: "a pipe", make: func(t *testing.T, w *world) {
			if err := unix.Mkfifo(filepath.Join(w.target, "refs/heads/other"), 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		// A libostree that was killed while it set a ref.
		{name: "a temporary file", make: refFile("heads/tmp.AbCdEf", dangling)},
		{name: "an empty temporary file", make: refFile("heads/tmp.AbCdEf", "")},
		// libostree leaves the directories of refs that it deletes.
		{name: "an empty directory", make: func(t *testing.T, w *world) {
			sum := commitOf(t, w.target, "main")
			output(t, "ostree", "--repo="+w.target, "refs", "--delete", "main")
			output(t, "ostree", "--repo="+w.target, "refs", "--create=main/below", sum)
			output(t, "ostree", "--repo="+w.target, "refs", "--delete", "main/below")
			if err := os.MkdirAll(filepath.Join(w.target, "refs/heads/main"), 0o755); err != nil {
				t.Fatal(err)
			}
		}},
	}
}

// refFile writes a file below the target's refs.
func refFile(name, content string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) { writeRef(t, w.target, name, content) }
}

func writeRef(t *testing.T, repo, name, content string) {
	t.Helper()
	path := filepath.Join(repo, "refs", name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func refLink(name, to string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		if err := os.Symlink(to, filepath.Join(w.target, "refs", name)); err != nil {
			t.Fatal(err)
		}
	}
}

// sourceStates are those of what is pushed from.
func sourceStates() []state {
	all := []state{
		// As in a target.
		{name: "a ref of the source without commit", make: func(t *testing.T, w *world) {
			writeRef(t, w.source, "heads/other", strings.Repeat("d", 64)+"\n")
		}},
		{name: "an empty file among the refs of the source", make: func(t *testing.T, w *world) {
			writeRef(t, w.source, "heads/other", "")
		}},
		{name: "a backup among the refs of the source", make: func(t *testing.T, w *world) {
			writeRef(t, w.source, "heads/main~", strings.Repeat("d", 64)+"\n")
		}},
		{name: "a pushed ref without commit", refs: []string{"other", "main"}, fails: `\bother\b`, make: func(t *testing.T, w *world) {
			writeRef(t, w.source, "heads/other", strings.Repeat("d", 64)+"\n")
		}},
		{name: "the source lacks what the target has", make: func(t *testing.T, w *world) {
			remove(t, fileObject(t, w, "/sub/b"))
		}},
		{name: "the source lacks a file", fails: anObject, make: func(t *testing.T, w *world) {
			remove(t, fileObject(t, w, "/new"))
		}},
		// A pull that was interrupted.
		{name: "the source has a part", fails: "is partial", make: func(t *testing.T, w *world) {
			remove(t, fileObject(t, w, "/new"))
			mark := filepath.Join(w.source, "state", commitOf(t, w.source, "main")+".commitpartial")
			if err := os.WriteFile(mark, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "the history of the source is cut", make: func(t *testing.T, w *world) {
			remove(t, objectOf(w.source, commitOf(t, w.source, "again"))+".commit")
			output(t, "ostree", "--repo="+w.source, "refs", "--delete", "again")
		}},
		{name: "the source has objects of another repository", make: func(t *testing.T, w *world) {
			child := filepath.Join(t.TempDir(), "child")
			if err := otrepo.Init(child, "archive"); err != nil {
				t.Fatal(err)
			}
			output(t, "ostree", "--repo="+child, "config", "set", "core.parent", w.source)
			writeRef(t, child, "heads/main", commitOf(t, w.source, "main")+"\n")
			w.source = child
		}},
	}
	for i := range all {
		all[i].source = true
	}
	return all
}
