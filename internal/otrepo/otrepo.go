// Package otrepo makes repositories, with ostree-go, and commits for tests: the
// programs under test have no part in it.
package otrepo

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/ostreedev/ostree-go/pkg/otbuiltin"
)

// Init makes a repository.
func Init(path, mode string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	opts := otbuiltin.NewInitOptions()
	opts.Mode = mode
	_, err := otbuiltin.Init(path, opts)
	return err
}

// Commit is a commit to be made of the directory Dir. Owners are kept. Whoever binds it to its
// ref makes another commit.
type Commit struct {
	Ref, Dir, Subject, Body string
	Time                    time.Time // zero: now
	Metadata                []string  // KEY=VALUE
	Bound                   bool      // to its ref, and to one more
}

// Write writes the commit on its ref, and returns its checksum. It runs the
// ostree program: with ostree-go, CommitTransaction has libostree write its
// statistics into a struct that is too small for them.
func (c Commit) Write(path string) (string, error) {
	args := []string{"commit", "--repo=" + path, "--branch=" + c.Ref, "--fsync=false",
		"--subject=" + c.Subject, "--body=" + c.Body, "--tree=dir=" + c.Dir}
	if !c.Time.IsZero() {
		args = append(args, fmt.Sprintf("--timestamp=@%d", c.Time.Unix()))
	}
	bindings := "--no-bindings"
	if c.Bound {
		bindings = "--bind-ref=elsewhere"
	}
	args = append(args, bindings)
	for _, m := range c.Metadata {
		args = append(args, "--add-metadata-string="+m)
	}
	cmd := exec.Command("ostree", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ostree commit: %w: %s", err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// Main is a program for scripts:
//
//	otrepo init [-mode MODE] REPO
//	otrepo commit [-subject S] [-body B] [-time SECONDS] [-metadata KEY=VALUE] [-bound] REPO REF DIR
//	otrepo refs [-n N] REPO REF
func Main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "otrepo:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("init, commit or refs?")
	}
	var c Commit
	var seconds int64
	var n int
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	mode := flags.String("mode", "archive", "")
	flags.StringVar(&c.Subject, "subject", "", "")
	flags.IntVar(&n, "n", 1, "")
	flags.StringVar(&c.Body, "body", "", "")
	flags.Int64Var(&seconds, "time", 0, "")
	flags.BoolVar(&c.Bound, "bound", false, "")
	flags.Func("metadata", "", func(s string) error { c.Metadata = append(c.Metadata, s); return nil })
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch args := flags.Args(); {
	case flags.Name() == "init" && len(args) == 1:
		return Init(args[0], *mode)
	case flags.Name() == "refs" && len(args) == 2:
		return Refs(args[0], args[1], n)
	case flags.Name() == "commit" && len(args) == 3:
		if seconds != 0 {
			c.Time = time.Unix(seconds, 0)
		}
		c.Ref, c.Dir = args[1], args[2]
		sum, err := c.Write(args[0])
		if err == nil {
			fmt.Println(sum)
		}
		return err
	}
	return fmt.Errorf("wrong arguments: %q", flags.Args())
}
