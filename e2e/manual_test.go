package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/google/go-cmp/cmp"
)

// said returns what a program prints, on standard output and standard error.
func said(t *testing.T, argv ...string) string {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(text)
}

// manual returns the source of a manual page.
func manual(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../docs/man", name+".md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section returns what follows a heading of a page, up to the next one.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	_, text, ok := strings.Cut(page, "\n"+heading+"\n")
	if !ok {
		t.Fatalf("there is no %s", heading)
	}
	text, _, _ = strings.Cut(text, "\n#")
	return text
}

var (
	helpOption   = regexp.MustCompile(`(?m)^  (-\w, |    )(--\S+)`)
	manualOption = regexp.MustCompile(`(?m)^\*\*(-.*)\n:   `)
	shortValue   = regexp.MustCompile(`^(-\w) [^,]*,`)
)

// helpOptions returns the options that a program knows, as "-p, --port=PORT".
func helpOptions(t *testing.T, program string) (options []string) {
	t.Helper()
	for _, m := range helpOption.FindAllStringSubmatch(said(t, program, "--help"), -1) {
		options = append(options, strings.TrimLeft(m[1], " ")+m[2])
	}
	return options
}

// manualOptions returns those that a part of a page explains.
func manualOptions(text string) (options []string) {
	for _, m := range manualOption.FindAllStringSubmatch(text, -1) {
		option := strings.NewReplacer("*", "", "`", "").Replace(m[1])
		options = append(options, shortValue.ReplaceAllString(option, "$1,"))
	}
	return options
}

// The manual has the options that there are, with the same names of their values, in
// the same order.
func TestManualOptions(t *testing.T) {
	for program, page := range map[string]string{"ostree-push": "ostree-push.1", "ostree-receive": "ostree-receive.1"} {
		want := helpOptions(t, program)
		if len(want) < 5 {
			t.Fatalf("%s --help: %q", program, want)
		}
		got := manualOptions(section(t, manual(t, page), "# OPTIONS"))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (- --help, + manual)\n%s", page, diff)
		}
	}

	// Those of protocol 0, but for the usual ones.
	var want []string
	usual := section(t, manual(t, "ostree-receive.1"), "# OPTIONS")
	for _, option := range helpOptions(t, "ostree-receive-0") {
		if !strings.Contains(usual, "**"+option[strings.Index(option, "--"):]+"**") {
			want = append(want, option)
		}
	}
	got := manualOptions(section(t, manual(t, "ostree-receive.1"), "## Options of ostree-receive-0"))
	if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
		t.Errorf("ostree-receive-0: (- --help, + manual)\n%s", diff)
	}

	// The shell has no --help, but says which limits there are.
	t.Setenv("SSH_ORIGINAL_COMMAND", "ostree-receive repo -")
	_, list, ok := strings.Cut(said(t, "ostree-receive-shell", "--no-such-limit"), " is none of ")
	if !ok {
		t.Fatal("the shell says nothing of its limits")
	}
	want = strings.Split(strings.TrimSpace(list), ", ")
	got = manualOptions(section(t, manual(t, "ostree-receive-shell.8"), "# LIMITS"))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ostree-receive-shell: (- program, + manual)\n%s", diff)
	}
}

// --help fits a narrow terminal, and has examples of the program itself.
func TestHelp(t *testing.T) {
	t.Setenv("COLUMNS", "200")
	for _, program := range []string{"ostree-push", "ostree-receive", "ostree-receive-0", "ostree-receive-1"} {
		help := said(t, program, "--help")
		for line := range strings.Lines(help) {
			if len(strings.TrimSuffix(line, "\n")) > 80 {
				t.Errorf("%s --help: longer than 80 columns: %s", program, line)
			}
		}
		_, examples, ok := strings.Cut(help, "\nExamples:\n")
		if !ok || !strings.Contains(examples, "\n    "+strings.TrimSuffix(program, "-1")+" ") {
			t.Errorf("%s --help: no examples in\n%s", program, help)
		}
	}
}

// What make turns the pages into is what man and mandoc take for manual pages.
func TestManualPages(t *testing.T) {
	t.Parallel()
	sources, err := filepath.Glob("../docs/man/*.md")
	if err != nil || len(sources) != 4 {
		t.Fatal(sources, err)
	}
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		page := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(source), ".md"))
		if err := os.WriteFile(page, md2man.Render(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, command := range [][]string{
			{"mandoc", "-T", "lint", "-W", "warning", page},
			{"man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page},
			{"lexgrog", page},
		} {
			if _, err := exec.LookPath(command[0]); err != nil {
				t.Logf("not checked: %v", err)
				continue
			}
			cmd := exec.Command(command[0], command[1:]...)
			cmd.Env = append(os.Environ(), "MANWIDTH=80", "LC_ALL=C.UTF-8")
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil || stderr.Len() > 0 || command[0] == "mandoc" && stdout.Len() > 0 {
				t.Errorf("%s: %s: %v\n%s%s", source, command[0], err, &stderr, &stdout)
			}
		}
	}
}
