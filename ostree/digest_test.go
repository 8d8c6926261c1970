package ostree_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"ostree-push/ostree"
)

// exempt are the keys that the tests leave out.
var exempt = []string{ostree.MetaRefBinding, ostree.MetaCollectionBinding, "xa.ref", "xa.from_commit"}

// metadata is that of a commit, as arguments of the ostree program, in the order of the keys.
func metadata(entries map[string]string) []string {
	var args []string
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		args = append(args, "--add-metadata="+key+"="+entries[key])
	}
	return args
}

var plain = map[string]string{
	"a":                          "'text'",
	"b":                          "uint32 7",
	"c":                          "[('x', uint64 1), ('y', uint64 2)]",
	"d":                          "{'inner': <{'number': <uint32 1>, 'list': <['p', 'q']>}>}",
	"e":                          "<<true>>",
	"é":                          "@as []",
	ostree.MetaCollectionBinding: "'org.example.One'",
	"xa.ref":                     "'app/one'",
	"xa.from_commit":             "'0000'",
}

// with is plain with some other values; "" removes one.
func with(other map[string]string) []string {
	entries := maps.Clone(plain)
	for key, value := range other {
		if entries[key] = value; value == "" {
			delete(entries, key)
		}
	}
	return metadata(entries)
}

// Everything that is published counts, and nothing else.
func TestContentDigest(t *testing.T) {
	path, dir := initRepo(t, "archive"), tree(t)
	repo := open(t, path)
	digest := func(c newCommit) [32]byte {
		t.Helper()
		return loadCommit(t, repo, commit(t, path, c)).ContentDigest(exempt...)
	}
	same := newCommit{ref: "main", dir: dir, subject: "subject", body: "body", time: 1700000000, args: with(nil)}
	want := digest(same)
	change := func(f func(*newCommit)) newCommit {
		c := same
		f(&c)
		return c
	}
	other := func(entries map[string]string) newCommit {
		return change(func(c *newCommit) { c.args = with(entries) })
	}
	changed := tree(t)
	write(t, changed+"/file", "changed")

	for name, c := range map[string]newCommit{
		"again, with a parent":  same,
		"bound to another ref":  change(func(c *newCommit) { c.ref = "other" }),
		"bound to no ref":       change(func(c *newCommit) { c.args = append(c.args, "--no-bindings") }),
		"another collection":    other(map[string]string{ostree.MetaCollectionBinding: "'org.example.Two'"}),
		"a collection number":   other(map[string]string{ostree.MetaCollectionBinding: "uint32 1"}),
		"no collection":         other(map[string]string{ostree.MetaCollectionBinding: ""}),
		"another flatpak ref":   other(map[string]string{"xa.ref": "'app/two'"}),
		"no flatpak ref":        other(map[string]string{"xa.ref": "", "xa.from_commit": ""}),
		"made of another":       other(map[string]string{"xa.from_commit": "'1111'"}),
		"in the opposite order": change(func(c *newCommit) { c.args = slices.Clone(c.args); slices.Reverse(c.args) }),
	} {
		if digest(c) != want {
			t.Errorf("%s: it has another digest", name)
		}
	}
	seen := map[[32]byte]string{want: "what it was"}
	for name, c := range map[string]newCommit{
		"another tree":               change(func(c *newCommit) { c.dir = changed }),
		"another root directory":     change(func(c *newCommit) { c.args = append(c.args, "--owner-uid=7") }),
		"a second later":             change(func(c *newCommit) { c.time++ }),
		"another subject":            change(func(c *newCommit) { c.subject = "subjec" }),
		"another body":               change(func(c *newCommit) { c.body = "bodY" }),
		"subject and body swapped":   change(func(c *newCommit) { c.subject, c.body = c.body, c.subject }),
		"a line moved":               change(func(c *newCommit) { c.subject, c.body = "subjectbod", "y" }),
		"another string":             other(map[string]string{"a": "'texT'"}),
		"another type":               other(map[string]string{"a": "b'text'"}),
		"another number":             other(map[string]string{"b": "uint32 117440512"}),
		"the same number, signed":    other(map[string]string{"b": "int32 7"}),
		"another order of a list":    other(map[string]string{"c": "[('y', uint64 2), ('x', uint64 1)]"}),
		"another number, far within": other(map[string]string{"d": "{'inner': <{'number': <uint32 2>, 'list': <['p', 'q']>}>}"}),
		"another type, far within":   other(map[string]string{"d": "{'inner': <{'number': <int32 1>, 'list': <['p', 'q']>}>}"}),
		"a binding far within":       other(map[string]string{"d": "{'xa.ref': <{'number': <uint32 1>, 'list': <['p', 'q']>}>}"}),
		"a variant less":             other(map[string]string{"e": "<true>"}),
		"another empty list":         other(map[string]string{"é": "@ay []"}),
		"a key less":                 other(map[string]string{"a": ""}),
		"a key more":                 other(map[string]string{"f": "true"}),
		"values swapped":             other(map[string]string{"a": plain["b"], "b": plain["a"]}),
		"a key that begins like one": other(map[string]string{"xa.ref2": "''"}),
	} {
		got := digest(c)
		if as, ok := seen[got]; ok {
			t.Errorf("%s: it has the digest of %s", name, as)
		}
		seen[got] = name
	}
	all := loadCommit(t, repo, commit(t, path, same))
	if all.ContentDigest() == want || all.ContentDigest("b") == want {
		t.Error("keys that are not named do not count")
	}
}

// A commit that is written anew, as a receiver does, has its dictionary in another order, and
// other objects around it; its digest is the one that it had.
func TestContentDigestWritten(t *testing.T) {
	path, dir := initRepo(t, "archive"), tree(t)
	for i, edit := range []ostree.MetadataEdit{
		{},
		{
			Strings:     map[string]string{ostree.MetaCollectionBinding: strings.Repeat("long.", 100), "xa.ref": "b", "xa.from_commit": "c"},
			StringLists: map[string][]string{ostree.MetaRefBinding: {"a", "b"}},
		},
		{Remove: exempt},
	} {
		src := commit(t, path, newCommit{ref: "main", dir: dir, time: int64(1700000000 + i), args: with(nil)})
		repo := open(t, path)
		from := loadCommit(t, repo, src)
		var written ostree.Checksum
		in(t, repo, func(tx *ostree.Transaction) {
			var err error
			if written, err = tx.WriteCommitLike(context.Background(), repo, from, from.Parent, edit); err != nil {
				t.Fatal(err)
			}
		})
		if written == src {
			t.Fatal("the order is as it was, which is no test")
		}
		if loadCommit(t, repo, written).ContentDigest(exempt...) != from.ContentDigest(exempt...) {
			t.Errorf("edit %d: another digest", i)
		}
	}
}

// Metadata is read by its type: what has another one is not there.
func TestMeta(t *testing.T) {
	path := initRepo(t, "archive")
	repo := open(t, path)
	c := loadCommit(t, repo, commit(t, path, newCommit{ref: "main", dir: tree(t), args: []string{
		"--bind-ref=größe",
		"--add-metadata=text='größe'", "--add-metadata=none=@as []",
		"--add-metadata=path=objectpath '/text'", "--add-metadata=wrapped=<'text'>",
		"--add-metadata=bytes=[b'main']", "--add-metadata=numbers=[uint32 1]",
	}}))
	if got, ok := c.MetaStrings(ostree.MetaRefBinding); !ok || !slices.Equal(got, []string{"größe", "main"}) {
		t.Errorf("bound to %q, %v", got, ok)
	}
	if got, ok := c.MetaString("text"); !ok || got != "größe" {
		t.Errorf("text %q, %v", got, ok)
	}
	if got, ok := c.MetaStrings("none"); !ok || len(got) != 0 {
		t.Errorf("none %q, %v", got, ok)
	}
	for _, key := range []string{"missing", "none", "path", "wrapped", "bytes", "numbers", ostree.MetaRefBinding} {
		if got, ok := c.MetaString(key); ok {
			t.Errorf("%s is the string %q", key, got)
		}
	}
	for _, key := range []string{"missing", "text", "path", "wrapped", "bytes", "numbers"} {
		if got, ok := c.MetaStrings(key); ok {
			t.Errorf("%s is the list %q", key, got)
		}
	}
}
