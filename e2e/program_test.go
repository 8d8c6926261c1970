package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"

	// What the program is made of, but for push and receive, which these tests import anyway:
	// by that go test knows that what they have shown holds no more when it changes.
	_ "ostree-push/shell"
)

// programName is the name of the program that all others are links to.
const programName = "ostree-push"

// programLinks returns the others: those that are installed, those by which login(1) calls
// two of them, and one that the program does not know.
func programLinks() []string {
	return []string{
		"ostree-receive", "ostree-receive-0", "ostree-receive-1", "ostree-receive-shell",
		"-ostree-receive-shell", "-ostree-push", "other-name",
	}
}

// programs returns the directory of our programs, which testscript.Main puts first.
func programs() string { return filepath.SplitList(os.Getenv("PATH"))[0] }

// suite is all tests. They run the program that users have, built as the tests are.
type suite struct{ *testing.M }

// Run runs them. By then testscript.Main has made programs, with the binary of the tests
// under the name of every command; it removes that when they are done.
func (s suite) Run() int {
	if err := buildPrograms(programs()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return s.M.Run()
}

func buildPrograms(dir string) error {
	for _, link := range programLinks() {
		path := filepath.Join(dir, link)
		if err := errors.Join(os.Remove(path), os.Symlink(programName, path)); err != nil {
			return err
		}
	}
	// What is there is another link to the binary of the tests.
	program := filepath.Join(dir, programName)
	if err := os.Remove(program); err != nil {
		return err
	}
	// So that these tests are not taken for done when just that has changed, which none of them imports.
	if _, err := os.Stat("../main.go"); err != nil {
		return err
	}
	cmd := exec.Command("go", slices.Concat([]string{"build", "-buildvcs=false", "-o", program}, sanitizers())...)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return nil
}

// sanitizers returns those flags of the build of these tests by which it finds faults of itself.
func sanitizers() (flags []string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, s := range info.Settings {
		if s.Value == "true" && (s.Key == "-race" || s.Key == "-asan" || s.Key == "-msan") {
			flags = append(flags, s.Key)
		}
	}
	return flags
}
