package ostree_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ostree-push/ostree"
)

func TestLoadCommit(t *testing.T) {
	path, dir := initRepo(t, "archive"), tree(t)
	first := commit(t, path, newCommit{ref: "main", dir: dir, subject: "Größe", body: "line\n\nline", time: 1700000000})
	second := commit(t, path, newCommit{ref: "main", dir: dir, time: 1700000001})
	write(t, filepath.Join(dir, "file"), "changed")
	third := commit(t, path, newCommit{ref: "main", dir: dir, time: 1700000002})
	repo := open(t, path)

	c := loadCommit(t, repo, first)
	if c.Checksum != first || c.Subject != "Größe" || c.Body != "line\n\nline" || !c.Parent.IsZero() || c.Partial {
		t.Errorf("%+v", c)
	}
	if want := time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC); c.Timestamp != uint64(want.Unix()) {
		t.Errorf("timestamp %v, want %v", c.Timestamp, want.Unix())
	}
	c2, c3 := loadCommit(t, repo, second), loadCommit(t, repo, third)
	if c2.Parent != first || c3.Parent != second {
		t.Errorf("parents %v, %v", c2.Parent, c3.Parent)
	}
	if c2.Tree != c.Tree || c3.Tree == c.Tree {
		t.Errorf("trees %v, %v, %v", c.Tree, c2.Tree, c3.Tree)
	}
	if line := program(t, "--repo="+path, "ls", "-dC", "main"); !strings.Contains(line, c3.Tree.Contents.String()+" "+c3.Tree.Meta.String()) {
		t.Errorf("tree %v, but ostree ls says %s", c3.Tree, line)
	}
	c.Close()
	c.Close()
}

func TestLoadCommitPartial(t *testing.T) {
	source, refs := twoRefs(t, "")
	repo := create(t, serve(t, source))
	opts := pullAll(refs["main"])
	opts.Flags |= ostree.PullCommitOnly
	if err := repo.Pull(context.Background(), opts); err != nil {
		t.Fatal(err)
	}
	if c := loadCommit(t, repo, refs["main"]); !c.Partial {
		t.Error("a commit whose files are not there is not partial")
	}
	if err := repo.Pull(context.Background(), pullAll(refs["main"])); err != nil {
		t.Fatal(err)
	}
	if c := loadCommit(t, repo, refs["main"]); c.Partial {
		t.Error("a commit with all its files is partial")
	}
}

// A damaged commit object is an error, whether its strings have an end or not.
func TestLoadCommitCorrupt(t *testing.T) {
	path := initRepo(t, "archive")
	sum := commit(t, path, newCommit{ref: "main", dir: tree(t), subject: "subject", body: "the body"})
	repo, file := open(t, path), objectPath(path, sum, "commit")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) []byte {
		if bytes.Count(good, []byte(old)) != 1 || len(old) != len(new) {
			t.Fatalf("cannot replace %q by %q", old, new)
		}
		return bytes.Replace(good, []byte(old), []byte(new), 1)
	}
	for name, data := range map[string][]byte{
		"empty":               {},
		"one byte":            {0},
		"zeros":               make([]byte, len(good)),
		"ones":                bytes.Repeat([]byte{0xff}, len(good)),
		"half":                good[:len(good)/2],
		"more":                append(bytes.Clone(good), good...),
		"subject without end": replace("subject\x00", "subject!"),
		"body without end":    replace("the body\x00", "the body!"),
		"body not UTF-8":      replace("the body\x00", "the \xffody\x00"),
	} {
		// Objects may be mapped into memory, so they are not written in place.
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		write(t, file, string(data))
		if c, err := repo.LoadCommit(sum); err == nil {
			t.Errorf("%s: subject %q, body %q", name, c.Subject, c.Body)
			c.Close()
		} else if !strings.Contains(err.Error(), sum.String()) {
			t.Errorf("%s: the error does not say which commit: %v", name, err)
		}
		if _, err := repo.NewSummary(ostree.Refs{"main": sum}); err == nil {
			t.Errorf("%s: it is in a summary", name)
		}
	}
}

func TestWriteCommitLike(t *testing.T) {
	path, dir := initRepo(t, "archive"), tree(t)
	src := commit(t, path, newCommit{
		ref: "main", dir: dir, subject: "subject", body: "body\n", time: 1700000000,
		args: []string{
			"--add-metadata-string=string=kept",
			"--add-metadata=number=uint64 7",
			"--add-metadata-string=changed=old",
			"--add-metadata=retyped=uint32 1",
			"--add-metadata-string=removed=x",
			"--add-detached-metadata-string=detached=x",
		},
	})
	repo := open(t, path)
	from := loadCommit(t, repo, src)
	var written, orphan ostree.Checksum
	in(t, repo, func(tx *ostree.Transaction) {
		var err error
		written, err = tx.WriteCommitLike(context.Background(), repo, from, src, ostree.MetadataEdit{
			Strings:     map[string]string{"changed": "new", "retyped": "größe", "added": ""},
			StringLists: map[string][]string{ostree.MetaRefBinding: {"a", "b"}, "none": {}},
			Remove:      []string{"removed", "never there"},
		})
		if err != nil {
			t.Fatal(err)
		}
		orphan, err = tx.WriteCommitLike(context.Background(), repo, from, ostree.Checksum{}, ostree.MetadataEdit{})
		if err != nil {
			t.Fatal(err)
		}
	})
	move(t, repo, ostree.RefUpdate{Ref: "main", Old: src, New: written})

	c := loadCommit(t, repo, written)
	if c.Subject != from.Subject || c.Body != from.Body || c.Timestamp != from.Timestamp || c.Tree != from.Tree {
		t.Errorf("%+v, want one like %+v", c, from)
	}
	if c.Parent != src {
		t.Errorf("parent %v, want %v", c.Parent, src)
	}
	key := func(sum ostree.Checksum, name string) string {
		return strings.TrimSpace(program(t, "--repo="+path, "show", "--print-metadata-key="+name, sum.String()))
	}
	for name, want := range map[string]string{
		"string":              "'kept'",
		"number":              key(src, "number"),
		"changed":             "'new'",
		"retyped":             "'größe'",
		"added":               "''",
		ostree.MetaRefBinding: "['a', 'b']",
		"none":                "@as []",
	} {
		if got := key(written, name); got != want {
			t.Errorf("metadata %s is %s, want %s", name, got, want)
		}
	}
	programFails(t, "--repo="+path, "show", "--print-metadata-key=removed", written.String())
	programFails(t, "--repo="+path, "show", "--print-detached-metadata-key=detached", written.String())
	program(t, "--repo="+path, "fsck", "--quiet")

	if c := loadCommit(t, repo, orphan); !c.Parent.IsZero() {
		t.Errorf("parent %v, want none", c.Parent)
	}
	if got, want := key(orphan, ostree.MetaRefBinding), key(src, ostree.MetaRefBinding); got != want {
		t.Errorf("without an edit, the binding is %s, not %s", got, want)
	}
	if got := refsOf(t, path)["main"]; got != written {
		t.Errorf("main is %v, want %v", got, written)
	}
}

// Until a transaction is committed, its commits are marked as partial, whichever way they
// came: whoever is killed, or takes over what was staged, leaves no broken ones.
func TestPartialUntilCommitted(t *testing.T) {
	ctx := context.Background()
	source, refs := twoRefs(t, "")
	from := open(t, source)
	main := refs["main"]
	importMain := func(repo *ostree.Repo, tx *ostree.Transaction) error {
		importTree(t, repo, tx, from, main)
		return tx.ImportCommit(ctx, from, main)
	}
	for name, write := range map[string]func(*ostree.Repo, *ostree.Transaction) (ostree.Checksum, error){
		"imported": func(repo *ostree.Repo, tx *ostree.Transaction) (ostree.Checksum, error) {
			return main, importMain(repo, tx)
		},
		"written": func(repo *ostree.Repo, tx *ostree.Transaction) (ostree.Checksum, error) {
			if err := importMain(repo, tx); err != nil {
				return ostree.Checksum{}, err
			}
			return tx.WriteCommitLike(ctx, from, loadCommit(t, from, main), main, ostree.MetadataEdit{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := initRepo(t, "archive")
			// Without syncing, libostree does not stage objects: a commit is there after all it has.
			program(t, "--repo="+path, "config", "set", "core.fsync", "true")
			repo := open(t, path)
			var sum ostree.Checksum
			in(t, repo, func(tx *ostree.Transaction) {
				var err error
				if sum, err = write(repo, tx); err != nil {
					t.Fatal(err)
				}
				if !loadCommit(t, repo, sum).Partial {
					t.Error("the commit is not partial before all is there")
				}
			})
			if loadCommit(t, repo, sum).Partial {
				t.Error("the commit is partial when all is there")
			}
		})
	}
}

// A commit that is there already keeps its detached metadata, and is not taken for a partial one at any time.
func TestImportCommitThatIsThere(t *testing.T) {
	source, refs := twoRefs(t, "")
	main := refs["main"]
	target := initRepo(t, "archive")
	program(t, "--repo="+target, "pull-local", source, main.String())
	sign := func(path, text string) {
		program(t, "--repo="+path, "commit", "--branch=other", "--tree=ref="+main.String(), "--subject="+text)
		if err := open(t, path).WriteDetachedMetadata(t.Context(), main, metadataOf(t, path, text)); err != nil {
			t.Fatal(err)
		}
	}
	sign(target, "the server's")
	sign(source, "the pusher's")
	repo := open(t, target)
	before, err := repo.DetachedMetadata(t.Context(), main)
	if err != nil {
		t.Fatal(err)
	}
	in(t, repo, func(tx *ostree.Transaction) {
		if err := tx.ImportCommit(t.Context(), open(t, source), main); err != nil {
			t.Fatal(err)
		}
		if loadCommit(t, repo, main).Partial {
			t.Error("a whole commit is marked as partial")
		}
	})
	if after, err := repo.DetachedMetadata(t.Context(), main); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the detached metadata was %q, and is %q, %v", before, after, err)
	}
}

// metadataOf returns detached metadata with a text in it, serialized.
func metadataOf(t *testing.T, path, text string) []byte {
	t.Helper()
	sum := commit(t, path, newCommit{ref: "metadata", dir: t.TempDir(), args: []string{"--add-detached-metadata-string=text=" + text}})
	metadata, err := open(t, path).DetachedMetadata(t.Context(), sum)
	if err != nil {
		t.Fatal(err)
	}
	return metadata
}

// importTree imports all that a commit consists of but itself, and that the target lacks.
func importTree(t *testing.T, target *ostree.Repo, tx *ostree.Transaction, from *ostree.Repo, sum ostree.Checksum) {
	t.Helper()
	eachObject(t, from, sum, func(e ostree.ObjectName) error {
		has, err := target.HasObject(t.Context(), e.Type, e.Sum)
		if err != nil || has {
			return err
		}
		return tx.Import(t.Context(), from, e.Type, e.Sum)
	})
}

// takeTree takes all that a commit consists of but itself.
func takeTree(t *testing.T, tx *ostree.Transaction, from *ostree.Repo, sum ostree.Checksum) {
	t.Helper()
	eachObject(t, from, sum, func(e ostree.ObjectName) error { return tx.Take(t.Context(), from, e) })
}

// eachObject calls visit for all that a commit consists of but itself, trees after what is below them; for some of it more than
// once.
func eachObject(t *testing.T, repo *ostree.Repo, sum ostree.Checksum, visit func(ostree.ObjectName) error) {
	t.Helper()
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var walk func(tree ostree.Tree)
	walk = func(tree ostree.Tree) {
		files, dirs, err := repo.DirTree(tree.Contents)
		check(err)
		for _, file := range files {
			check(visit(ostree.ObjectName{Type: ostree.ObjectFile, Sum: file}))
		}
		for _, dir := range dirs {
			walk(dir.Tree)
		}
		check(visit(ostree.ObjectName{Type: ostree.ObjectDirTree, Sum: tree.Contents}))
		check(visit(ostree.ObjectName{Type: ostree.ObjectDirMeta, Sum: tree.Meta}))
	}
	commit, err := repo.LoadCommit(sum)
	check(err)
	commit.Close()
	walk(commit.Tree)
}
