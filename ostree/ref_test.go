package ostree_test

import (
	"context"
	"maps"
	"regexp"
	"strings"
	"testing"

	"ostree-push/ostree"
)

func TestParseRef(t *testing.T) {
	part := strings.Repeat("p", 255)
	for _, s := range []string{
		"main",
		"app/org.example.App/x86_64/stable",
		"a/b-c/d.e/f_g",
		"1",
		"_",
		"a-",
		"a..b",
		"a./b",
		"größe/日本/١",
		part,
		strings.Repeat(part+"/", 15) + part,
		strings.Repeat("A", 64),
	} {
		ref, err := ostree.ParseRef(s)
		if err != nil || string(ref) != s {
			t.Errorf("ParseRef(%q) = %q, %v", s, ref, err)
		}
	}
}

func TestParseRefInvalid(t *testing.T) {
	for _, s := range []string{
		"",
		".",
		"..",
		"../main",
		"a/../b",
		"a/./b",
		".hidden",
		"a/.hidden",
		"-option",
		"--repo=other",
		"a/-b",
		"/main",
		"//",
		"main/",
		"a//b",
		"main\n",
		"main\r\n",
		"\nmain",
		"main\x00",
		"ma\x00in",
		"ma\tin",
		"ma\x1b[31min",
		"ma\x7fin",
		"ma in",
		"a:b",
		"origin:main",
		"main^",
		"a\\b",
		"a*",
		"$(id)",
		"a;b",
		"\xff",
		"main\xc3",
		"e\u0301",               // a combining accent
		"a\u2028b",              // a line separator
		"a\u202eb",              // turns the direction of writing
		"a\u200bb",              // a space of no width
		"\ufeffmain",            // a byte order mark
		"a\u2215b/c",            // looks like a slash
		"\U0001f600/ok",         // a picture
		strings.Repeat("a", 64), // a checksum
		strings.Repeat("p", 256),
		strings.Repeat("p/", 3000) + "p",
		strings.Repeat("-", 1<<20),
	} {
		if ref, err := ostree.ParseRef(s); err == nil || ref != "" {
			t.Errorf("ParseRef(%q) = %q, %v", s, ref, err)
		} else if len(err.Error()) > 300 || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
			t.Errorf("ParseRef(%q): the message is not fit to be shown: %q", s, err)
		}
	}
}

// What is accepted is what libostree can write, and lists.
func TestParseRefAsLibostree(t *testing.T) {
	repo := create(t, "")
	sum := commit(t, repo.Path(), newCommit{ref: "main", dir: tree(t)})
	want := ostree.Refs{"main": sum, "größe/日本/١": sum, "a/b-c/d.e/f_g": sum, ostree.Ref(strings.Repeat("p", 255)): sum}
	for ref := range want {
		if ref != "main" {
			move(t, repo, ostree.RefUpdate{Ref: ref, New: sum})
		}
	}
	got, err := repo.Refs(context.Background())
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

// Names are as ostree_validate_rev has them, for all strings of a few characters of each kind.
func TestParseRefKinds(t *testing.T) {
	names := regexp.MustCompile(`\A(?:[\pL\pN_][-.\pL\pN_]*/)*[\pL\pN_][-.\pL\pN_]*\z`)
	all := []string{""}
	for range 5 {
		var longer []string
		for _, s := range all {
			for _, c := range []string{"a", "é", "١", "_", "-", ".", "/", "\n", "\xff", "\u0301"} {
				longer = append(longer, s+c)
			}
		}
		for _, s := range longer {
			if _, err := ostree.ParseRef(s); (err == nil) != names.MatchString(s) {
				t.Fatalf("%q: %v", s, err)
			}
		}
		all = longer
	}
}
