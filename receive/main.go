// Package receive is the server's end of a push: it pulls commits from a URL
// into a repository, so that at every moment the repository is coherent.
//
// The behaviour of the program is that of the Python ostree-receive 1.2.0; how
// it is built is in docs/design.md.
package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"ostree-push/cli"
	"ostree-push/ostree"
	"ostree-push/report"
)

// commandLine is the program's grammar.
type commandLine struct {
	Repo string   `arg:"" name:"repo" help:"Repository to receive into."`
	URL  string   `arg:"" name:"url" help:"Where to pull from."`
	Refs []string `arg:"" optional:"" name:"ref" sep:"none" help:"Refs to pull; all that the source offers if none are named."`

	DryRun   bool `short:"n" help:"Only show what would be done."`
	Force    bool `short:"f" help:"Receive even if nothing changed or the commits are not newer."`
	NoUpdate bool `help:"Leave the repository's metadata alone."`

	cli.Common
}

// Main is the program: args are its arguments without the name.
func Main(name string, args []string, stdout, stderr *os.File) int {
	var cl commandLine
	if status, ok := cli.Parse(name, "Receive commits into an OSTree repository.", &cl, args, stdout, stderr); !ok {
		return status
	}

	ctx, stop := cli.Signals(context.Background())
	defer stop()
	ctx, unwatch := watchHangup(ctx, stdout, stderr)
	defer unwatch()

	if err := run(ctx, cl, name, stdout, stderr); err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, ostree.ErrCancelled) {
			err = cause
		}
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return cli.ExitStatus(err)
	}
	return cli.ExitDone
}

// run receives, and says what came of it in the way that suits the source: in
// events for a pusher of ours, else in text.
func run(ctx context.Context, cl commandLine, name string, stdout, stderr io.Writer) error {
	opts := options{
		repo:   cl.Repo,
		url:    cl.URL,
		refs:   cl.Refs,
		dryRun: cl.DryRun,
		force:  cl.Force,
		update: !cl.NoUpdate,
		// What the programs that update the metadata print is not for the
		// pusher to parse.
		output: stderr,
	}
	if readsEvents(cl.URL) {
		_, err := receive(ctx, opts, report.NewEvents(stdout))
		return err
	}
	text := report.NewText(stderr, name, cl.Level())
	start := time.Now()
	totals, err := receive(ctx, opts, text)
	totals.Seconds = time.Since(start).Seconds()
	if refs := text.Refs(); len(refs) > 0 {
		text.Finish(report.Result{Destination: cl.Repo, DryRun: cl.DryRun, Refs: refs, Totals: totals})
	}
	return err
}

// EventsPrefix begins the first segment of the path of a URL that is served by
// a pusher which reads a receiver's events from its standard output.
const EventsPrefix = "push-"

func readsEvents(source string) bool {
	u, err := url.Parse(source)
	return err == nil && strings.HasPrefix(u.Path, "/"+EventsPrefix)
}
