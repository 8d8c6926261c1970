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

	"ostree-push/internal/otrepo"
)

// completer returns what a shell completes a command line to, in a directory.
type completer func(t *testing.T, dir, line string) []string

const completions = "../packaging/completions"

func completers() map[string]completer {
	return map[string]completer{"bash": completeBash, "zsh": completeZsh, "fish": completeFish}
}

func completeBash(t *testing.T, dir, line string) []string {
	// readline takes these apart: COMP_WORDBREAKS.
	words := regexp.MustCompile(`[=:]+|[^=: ]+`).FindAllString(line, -1)
	if strings.HasSuffix(line, " ") || strings.HasSuffix(line, "=") {
		words = append(words, "")
	}
	args := append([]string{"--norc", path(t, "testdata/completion/bash"), path(t, completions+"/ostree-push.bash"), line}, words...)
	return completed(t, dir, "bash", args...)
}

func completeZsh(t *testing.T, dir, line string) []string {
	return completed(t, dir, "zsh", "-f", path(t, "testdata/completion/zsh"), filepath.Dir(path(t, completions+"/_ostree-push")), line)
}

func completeFish(t *testing.T, dir, line string) []string {
	program, _, _ := strings.Cut(line, " ")
	found := completed(t, dir, "fish", "--no-config", "-c",
		"source $argv[1]; complete -C $argv[2]", path(t, filepath.Join(completions, program+".fish")), line)
	// It repeats what is there of the word.
	word := line[strings.LastIndexByte(line, ' ')+1:]
	option, _, ok := strings.Cut(word, "=")
	for i, s := range found {
		found[i], _, _ = strings.Cut(s, "\t") // what follows explains it
		if ok {
			found[i] = strings.TrimPrefix(found[i], option+"=")
		}
	}
	return found
}

// completed runs a shell and returns the lines that it prints, sorted.
func completed(t *testing.T, dir, shell string, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), shell, args...)
	cmd.Dir = dir
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "OSTREE_REPO="+dir+"/default", "TERM=dumb", "LC_ALL=C.UTF-8")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() != 1) {
		t.Fatalf("%s: %v\n%s", shell, err, &stderr)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// path returns the absolute path of a file, of which go test is to know that the test
// depends on it.
func path(t *testing.T, name string) string {
	t.Helper()
	if _, err := os.Stat(name); err != nil {
		t.Fatal(err)
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for repo, refs := range map[string][]string{
		"local":   {"app/org.example.App/x86_64/stable", "app/org.example.App/x86_64/beta", "main"},
		"default": {"of-default"},
	} {
		repo := filepath.Join(dir, repo)
		if err := otrepo.Init(repo, "archive"); err != nil {
			t.Fatal(err)
		}
		tree := t.TempDir()
		for _, ref := range refs {
			if _, err := (otrepo.Commit{Ref: ref, Dir: tree}).Write(repo); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Somebody else's repository may have files among its refs that are none.
	hostile := filepath.Join(dir, "local/refs/heads", "m$(touch pwned)`touch pwned`;touch pwned")
	if err := os.WriteFile(hostile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// A ref of a remote is no local one.
	if err := os.MkdirAll(filepath.Join(dir, "local/refs/remotes/origin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "local/refs/remotes/origin/mirrored"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	for shell, complete := range completers() {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skip(err)
			}
			if shell == "bash" {
				if _, err := os.Stat("/usr/share/bash-completion/bash_completion"); err != nil {
					t.Skip(err)
				}
			}
			all := []string{"app/org.example.App/x86_64/beta", "app/org.example.App/x86_64/stable", "main"}
			for _, test := range []struct {
				dir, line string
				want      []string
			}{
				{"", "ostree-push --repo=local host:repo ", all},
				{"", "ostree-push --repo=local host:repo main app/", all[:2]},
				{"", "ostree-push --repo local -n -p 22 user@host:repo m", all[2:]},
				{"", "ostree-push host:repo ", []string{"of-default"}},
				{"local", "ostree-push host:repo m", all[2:]},
				{"", "ostree-push --repo=nowhere host:repo ", nil},
				{"", "ostree-push --transport=", []string{"auto", "stream", "tunnel"}},
				{"", "ostree-push --transport=s", []string{"stream"}},
			} {
				got := complete(t, filepath.Join(dir, test.dir), test.line)
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("%q: (-want +got)\n%s", test.line, diff)
				}
			}
			for _, line := range []string{"ostree-push --repo=lo", "ostree-receive lo"} {
				got := complete(t, dir, line)
				if len(got) != 1 || strings.TrimSuffix(got[0], "/") != "local" {
					t.Errorf("%q: got %q, not the directory", line, got)
				}
			}
			// Options are those that the program has.
			for _, program := range []string{"ostree-push", "ostree-receive"} {
				var want []string
				for _, option := range helpOptions(t, program) {
					name, _, _ := strings.Cut(option[strings.Index(option, "--"):], "=")
					want = append(want, name)
				}
				slices.Sort(want)
				got := complete(t, dir, program+" --")
				for i := range got {
					got[i] = strings.TrimSuffix(got[i], "=")
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: (- --help, + completion)\n%s", program, diff)
				}
			}
			if found, _ := filepath.Glob(filepath.Join(dir, "*", "pwned")); len(found) > 0 {
				t.Error("a name was run")
			}
			if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
				t.Error("a name was run")
			}
		})
	}
}
