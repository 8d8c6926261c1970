package receive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"

	"ostree-push/ostree"
	"ostree-push/receive/audit"
	"ostree-push/receive/config"
	"ostree-push/receive/locate"
	"ostree-push/receive/sign"
)

// This file finds what is wrong with a configuration before anybody pushes: a receive
// ends at the first thing, and an administrator wants to know all.

// problems returns what is wrong with the policy, a line each, for a receive by this
// account: for one repository, or for all if at is nil.
func (l Limits) problems(policy *config.Policy, at *locate.Location) []string {
	if at != nil {
		c, err := policy.For(at.Path())
		if err != nil {
			return []string{err.Error()}
		}
		return problemsOf(c, at.Path())
	}
	all := problemsOf(policy.Global(), "")
	for _, path := range policy.OwnRepos() {
		c, err := policy.For(path)
		if err != nil {
			all = append(all, err.Error())
			continue
		}
		all = append(all, problemsOf(c, path)...)
	}
	// What is wrong for all is wrong for each of them.
	var once []string
	for _, problem := range all {
		if !slices.Contains(once, problem) {
			once = append(once, problem)
		}
	}
	return once
}

// problemsOf returns what is wrong with the policy for the repository at path, "" if it
// is for no certain one.
func problemsOf(c *config.Config, path string) []string {
	problems := c.KeyProblems()
	add := func(option string, err error) {
		if err != nil {
			problems = append(problems, config.Problem{Option: option, Err: err})
		}
	}
	add("root", checkRoot(c.Root))
	add("audit_log", audit.Check(c.AuditLog))
	problems = append(problems, sign.Problems(c)...)
	add(updateProblem(c, path))
	lines := make([]string, len(problems))
	for i, problem := range problems {
		lines[i] = fmt.Sprintf("%s: %v", c.Place(problem.Option), problem.Err)
	}
	return lines
}

func checkRoot(root string) error {
	if root == "" {
		return nil
	}
	info, err := os.Stat(root)
	switch {
	case err != nil:
		return fmt.Errorf("root: %w", err)
	case !info.IsDir():
		return fmt.Errorf("root %q is no directory", root)
	}
	return nil
}

// updateProblem returns the option by which the metadata is updated, and why the program
// that does it cannot be run.
func updateProblem(c *config.Config, path string) (option string, err error) {
	switch {
	case !c.Update:
		return "update", nil
	case c.UpdateHook != nil:
		if _, err := exec.LookPath(c.UpdateHook[0]); err != nil {
			return "update_hook", fmt.Errorf("update_hook: %w", err)
		}
		return "update_hook", nil
	}
	if !holdsFlatpak(path) {
		return "update", nil
	}
	if _, err := exec.LookPath("flatpak"); err != nil {
		return "update", fmt.Errorf("update: the repository has flatpak's refs: %w", err)
	}
	return "update", nil
}

// holdsFlatpak reports whether the repository at path is one with flatpak's refs.
func holdsFlatpak(path string) bool {
	if path == "" {
		return false
	}
	repo, err := ostree.Open(path)
	if err != nil {
		return false
	}
	defer repo.Close()
	refs, err := repo.Refs(context.Background())
	return err == nil && hasFlatpak(refs)
}

// problemsError is the one error for all problems, nil if there are none.
func problemsError(problems []string) error {
	switch n := len(problems); n {
	case 0:
		return nil
	case 1:
		return errors.New("there is a problem with the configuration")
	default:
		return fmt.Errorf("there are %d problems with the configuration", n)
	}
}
