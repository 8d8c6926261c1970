package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The table of packages in docs/design.md has every package that is not for tests alone, with the imports that it has.
func TestDesignPackages(t *testing.T) {
	page, err := os.ReadFile("../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z/0-9]+)` \\| [^|]+ \\| ([^|]*) \\|$")
	_, table, ok := strings.Cut(string(page), "\n## Packages\n")
	table, _, ok2 := strings.Cut(table, "\n## ")
	if !ok || !ok2 {
		t.Fatal("docs/design.md has no section on packages")
	}
	told := map[string][]string{}
	for _, match := range row.FindAllStringSubmatch(table, -1) {
		var uses []string
		for _, quoted := range strings.FieldsFunc(match[2], func(r rune) bool { return r == ',' || r == ' ' }) {
			uses = append(uses, strings.Trim(quoted, "`"))
		}
		told[match[1]] = uses
	}
	if diff := cmp.Diff(imports(t), told); diff != "" {
		t.Errorf("docs/design.md (-code +page):\n%s", diff)
	}
}

// The files that docs/development.md and docs/design.md name are there.
func TestNamedFiles(t *testing.T) {
	named := regexp.MustCompile("`((?:[a-z0-9_]+/)+[A-Za-z0-9_]+\\.(?:go|txt|md|fish|bash))`")
	for _, page := range []string{"development.md", "design.md"} {
		text, err := os.ReadFile(filepath.Join("../docs", page))
		if err != nil {
			t.Fatal(err)
		}
		all := named.FindAllStringSubmatch(string(text), -1)
		if len(all) == 0 {
			t.Errorf("%s names no files", page)
		}
		for _, match := range all {
			// A NAME stands for any, and some files of the receiver's parts are named from there.
			if strings.Contains(match[1], "NAME") {
				continue
			}
			_, err := os.Stat(filepath.Join("..", match[1]))
			_, errBelow := os.Stat(filepath.Join("../receive", match[1]))
			if err != nil && errBelow != nil {
				t.Errorf("%s names %s, which is not there", page, match[1])
			}
		}
	}
}

// imports returns which of our packages each package imports, of those that the programs consist of.
func imports(t *testing.T) map[string][]string {
	const module = "ostree-push"
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, ".")
	list.Dir = ".."
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	short := func(path string) string {
		if path == module {
			return "main"
		}
		return strings.TrimPrefix(path, module+"/")
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if !isOurs(words[0]) {
			continue
		}
		var ours []string
		for _, path := range words[1:] {
			if isOurs(path) {
				ours = append(ours, short(path))
			}
		}
		slices.Sort(ours)
		all[short(words[0])] = ours
	}
	return all
}

func isOurs(path string) bool {
	return path == "ostree-push" || strings.HasPrefix(path, "ostree-push"+string(filepath.Separator))
}
