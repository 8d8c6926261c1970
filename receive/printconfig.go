package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"ostree-push/cli"
	"ostree-push/receive/config"
	"ostree-push/receive/locate"
	"ostree-push/report"
)

// printConfigLine is the grammar of the command lines with --print-config.
type printConfigLine struct {
	Repo        string `arg:"" optional:"" name:"repo" help:"Repository to print the configuration for."`
	PrintConfig bool   `required:"" help:"Print the configuration as TOML, and where it is from."`

	cli.Common
}

// run prints the configuration for a repository, or for all if none is named, and what is wrong with it, which is no
// reason not to print the rest.
func (cl *printConfigLine) run(_ context.Context, p process) error {
	policy, err := p.load()
	if err != nil {
		return err
	}
	text := report.NewText(p.stderr, p.name, report.Info)
	for _, warning := range policy.Warnings() {
		text.Log(report.Warning, warning)
	}
	at, writeTOML, findErr := (*locate.Location)(nil), policy.WriteTOML, error(nil)
	if cl.Repo != "" {
		if at, writeTOML, findErr = p.ownTOML(policy, cl.Repo); at != nil {
			defer at.Close()
			warnOfAccount(text, at, "what is wrong for that account only shows when it runs this")
		}
	}
	if findErr == nil {
		err = writeTOML(p.stdout)
	}
	problems := p.problems(policy, at)
	for _, problem := range problems {
		text.Log(report.Error, problem)
	}
	if findErr != nil {
		return findErr
	}
	return errors.Join(err, problemsError(problems))
}

// warnOfAccount says why it matters that root does this where another account receives, which may
// have a configuration of its own, and other rights.
func warnOfAccount(sink report.Sink, at *locate.Location, why string) {
	var stat unix.Stat_t
	if err := unix.Stat(at.Path(), &stat); err == nil && os.Geteuid() == 0 && stat.Uid != 0 {
		sink.Log(report.Warning, fmt.Sprintf("the repository belongs to %s: %s", accountName(stat.Uid), why))
	}
}

// ownTOML finds a repository, and what writes the configuration for it.
func (l Limits) ownTOML(policy *config.Policy, repo string) (*locate.Location, func(io.Writer) error, error) {
	at, c, err := l.find(policy, repo)
	if err != nil {
		return nil, nil, err
	}
	c.FindKeys() // for those that are not configured; what is wrong with them is a problem
	return at, c.WriteTOML, nil
}
