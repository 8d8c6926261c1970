// Package otrepo makes repositories and commits for tests, with ostree-go: the
// programs under test have no part in it.
package otrepo

import (
	"flag"
	"fmt"
	"os"
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

// Commit is a commit to be made of the directory Dir. Owners are kept: ostree-go
// crashes when it is asked to set them.
type Commit struct {
	Ref, Dir, Subject, Body string
	Time                    time.Time // zero: now
	Metadata                []string  // KEY=VALUE
}

// Write writes the commit on its ref, and returns its checksum. Calls must not
// overlap: ostree-go keeps what it was asked for in global variables.
func (c Commit) Write(path string) (string, error) {
	repo, err := otbuiltin.OpenRepo(path)
	if err != nil {
		return "", err
	}
	opts := otbuiltin.NewCommitOptions()
	opts.Subject, opts.Body = c.Subject, c.Body
	opts.Timestamp = c.Time
	opts.AddMetadataString = c.Metadata
	opts.Fsync = false
	if _, err := repo.PrepareTransaction(); err != nil {
		return "", err
	}
	sum, err := repo.Commit(c.Dir, c.Ref, opts)
	if err != nil {
		return "", err
	}
	_, err = repo.CommitTransaction()
	return sum, err
}

// Main is a program for scripts:
//
//	otrepo init [-mode MODE] REPO
//	otrepo commit [-subject S] [-body B] [-time SECONDS] [-metadata KEY=VALUE] REPO REF DIR
func Main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "otrepo:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("init or commit?")
	}
	var c Commit
	var seconds int64
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	mode := flags.String("mode", "archive", "")
	flags.StringVar(&c.Subject, "subject", "", "")
	flags.StringVar(&c.Body, "body", "", "")
	flags.Int64Var(&seconds, "time", 0, "")
	flags.Func("metadata", "", func(s string) error { c.Metadata = append(c.Metadata, s); return nil })
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch args := flags.Args(); {
	case flags.Name() == "init" && len(args) == 1:
		return Init(args[0], *mode)
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
