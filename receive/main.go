// Package receive is the server's end of a push: it takes commits from a stream of
// the pusher's, or pulls them from a URL, into a repository, so that at every moment the repository is coherent.
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
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/cli"
	"ostree-push/receive/audit"
	"ostree-push/receive/config"
	"ostree-push/receive/locate"
	"ostree-push/report"
	"ostree-push/stream"
)

// commandLine is the program's grammar.
type commandLine struct {
	Repo string   `arg:"" name:"repo" help:"Repository to receive into."`
	URL  string   `arg:"" name:"url" help:"Where to pull from."`
	Refs []string `arg:"" optional:"" name:"ref" sep:"none" help:"Refs to pull; all that the source offers if none are named."`

	DryRun   bool `short:"n" help:"Only show what would be done."`
	Force    bool `short:"f" help:"Receive even if nothing changed or the commits are not newer."`
	NoUpdate bool `help:"Leave the repository's metadata alone."`

	PrintConfig bool `help:"Print the configuration as TOML, and where it is from: in effect for REPO, or for all repositories. Nothing is received."`

	Update bool `help:"Sign commits that lack a signature, and update the metadata or run the hook, without receiving anything: of each REPO, or of those that the configuration names."`

	cli.Common
}

// printConfigLine is the grammar of the command lines with --print-config.
type printConfigLine struct {
	Repo        string `arg:"" optional:"" name:"repo" help:"Repository to print the configuration for."`
	PrintConfig bool   `required:"" help:"Print the configuration as TOML, and where it is from."`

	cli.Common
}

// Limits are what somebody who calls the receiver for a pusher allows that
// pusher. They hold whatever the configuration and the command line say.
type Limits struct {
	Root    string   // only repositories below it; "": as configured
	Refs    []string // only refs that match one of these patterns as well; none: as configured
	NoForce bool
	Config  string // the only file to read the configuration from; "": as usual

	Beat time.Duration // how often the pusher is told that the receiver is alive; 0: as usual
}

const examples = `
  Receive from ostree-push, which runs it on the server:
    ostree-push builder@example.org:/srv/repo app/org.example.App/x86_64/stable

  Let a key do that and nothing else (authorized_keys):
    restrict,command="ostree-receive-shell --root /srv" ssh-ed25519 AAAA...

  Pull two refs from another server, if allowed_urls has its URL:
    ostree-receive /srv/repo https://builds.example.org/repo stable testing

  See what that would do:
    ostree-receive -n /srv/repo https://builds.example.org/repo stable

  Print the configuration that is in effect, and where it is from:
    ostree-receive --print-config /srv/repo

  Publish what was committed there by hand, or before there was a key:
    ostree-receive --update /srv/repo
`

// Main is the program: args are its arguments without the name.
func Main(name string, args []string, stdin, stdout, stderr *os.File) int {
	return MainWithin(Limits{}, name, args, stdin, stdout, stderr)
}

// MainWithin is the program within limits.
func MainWithin(limits Limits, name string, args []string, stdin, stdout, stderr *os.File) int {
	program := cli.Program{Name: name, Description: "Receive commits into an OSTree repository.", Examples: examples}
	if speaksZero(name, args) {
		var cl zeroLine
		program.Description = "Receive commits into an OSTree repository from a client older than 0.1.1."
		program.Examples = zeroExamples
		if status, ok := program.Parse(&cl, args, stdout, stderr); !ok {
			return status
		}
		return serve(name, stdout, stderr, func(ctx context.Context) error {
			return runZero(ctx, limits, cl, name, stdin, stdout, stderr)
		})
	}
	if asksFor(updateOption, args) {
		var cl updateLine
		if status, ok := program.Parse(&cl, args, stdout, stderr); !ok {
			return status
		}
		return serve(name, stdout, stderr, func(ctx context.Context) error {
			return runUpdate(ctx, limits, cl, name, stderr)
		})
	}
	if asksFor("--print-config", args) {
		var cl printConfigLine
		if status, ok := program.Parse(&cl, args, stdout, stderr); !ok {
			return status
		}
		return exit(name, printConfig(limits, cl.Repo, name, stdout, stderr), stderr)
	}
	var cl commandLine
	if status, ok := program.Parse(&cl, args, stdout, stderr); !ok {
		return status
	}

	return serve(name, stdout, stderr, func(ctx context.Context) error {
		return run(ctx, limits, cl, name, stdin, stdout, stderr)
	})
}

// serve calls receive with a context that ends with the connection or at a signal,
// and returns the exit status.
func serve(name string, stdout, stderr *os.File, receive func(context.Context) error) int {
	ctx, stop := cli.Signals(context.Background())
	defer stop()
	ctx, unwatch := watchHangup(ctx, stdout, stderr)
	defer unwatch()
	return exit(name, receive(ctx), stderr)
}

// told is an error whose reason a pusher of ours has been told. Standard error, which that
// pusher shows as well, need not have it again.
type told struct{ error }

func (e told) Unwrap() error { return e.error }

// exit says why the program failed, if it did and nobody has been told, and returns its
// exit status.
func exit(name string, err error, stderr io.Writer) int {
	if err != nil && !errors.As(err, new(told)) {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		cli.PrintHints(stderr, name, err)
	}
	return cli.ExitStatus(err)
}

// asksFor reports whether option is one of the options.
func asksFor(option string, args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.Contains(args, option)
}

// printConfig prints the configuration for a repository, or for all if repo is
// "", and what is wrong with it, which is no reason not to print the rest.
func printConfig(limits Limits, repo, name string, stdout, stderr io.Writer) error {
	policy, err := limits.load()
	if err != nil {
		return err
	}
	text := report.NewText(stderr, name, report.Info)
	for _, warning := range policy.Warnings() {
		text.Log(report.Warning, warning)
	}
	at, writeTOML, findErr := (*locate.Location)(nil), policy.WriteTOML, error(nil)
	if repo != "" {
		if at, writeTOML, findErr = limits.ownTOML(policy, repo); at != nil {
			defer at.Close()
			warnOfAccount(text, at, "what is wrong for that account only shows when it runs this")
		}
	}
	if findErr == nil {
		err = writeTOML(stdout)
	}
	problems := limits.problems(policy, at)
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

// run receives, and says what came of it in the way that suits the source: in
// events for a pusher of ours, else in text.
func run(ctx context.Context, limits Limits, cl commandLine, name string, stdin, stdout, stderr *os.File) error {
	switch {
	case cl.URL == stream.JoinURL:
		return withStream(ctx, stdin, stdout, func(f *streamFiller) (report.Ended, error) {
			err := join(ctx, limits, cl, f, stdin)
			return ended(err, false), err
		})
	case cl.URL == stream.URL:
		return withStream(ctx, stdin, stdout, func(f *streamFiller) (report.Ended, error) {
			say := report.NewEvents(eventFrames{f.conn}, report.Debug)
			return runFor(ctx, limits, cl, say, func(opts options, sink report.Sink) (report.Totals, error) {
				return receiveStream(ctx, opts, f, sink)
			})
		})
	case readsEvents(cl.URL):
		say := report.NewEvents(stdout, report.Debug)
		say.Alive() // whoever hears that knows that more of it will come
		end, err := runFor(ctx, limits, cl, say, func(opts options, sink report.Sink) (report.Totals, error) {
			return receive(ctx, opts, sink)
		})
		say.Ended(end)
		return asTold(err)
	}
	return runText(ctx, limits, cl, name, stderr)
}

// runFor receives for a pusher of ours, which say tells what happens.
func runFor(ctx context.Context, limits Limits, cl commandLine, say *report.Events, receive func(options, report.Sink) (report.Totals, error)) (report.Ended, error) {
	defer keepAlive(limits.beat(), say.Alive)()
	return account(ctx, limits, cl, func(opts options, heard func(report.Sink) report.Sink) (report.Totals, error) {
		sink := heard(say.AtLeast(cl.eventLevel(opts.config)))
		output := report.NewLines(func(line string) { sink.Log(report.Info, line) })
		defer output.Flush()
		opts.output = output
		return receive(opts, sink)
	})
}

// runText receives for somebody who reads text.
func runText(ctx context.Context, limits Limits, cl commandLine, name string, stderr *os.File) error {
	_, err := account(ctx, limits, cl, func(opts options, heard func(report.Sink) report.Sink) (report.Totals, error) {
		text := report.NewText(stderr, name, cl.textLevel(opts.config))
		opts.output = outputIn(text)
		start := time.Now()
		totals, err := receive(ctx, opts, heard(text))
		totals.Seconds = time.Since(start).Seconds()
		if refs := text.Refs(); len(refs) > 0 {
			text.Finish(report.Result{Destination: cl.Repo, DryRun: opts.config.DryRun, Refs: refs, Totals: totals})
		}
		return totals, err
	})
	return err
}

// outputIn returns where the output of programs goes for somebody who reads text.
func outputIn(text *report.Text) io.Writer {
	if !text.Shows(report.Info) {
		return io.Discard
	}
	return text
}

// ended is how a receive ended, as a pusher of ours is told.
func ended(err error, moved bool) report.Ended {
	end := report.Ended{Moved: moved}
	if err != nil {
		const most = 64 << 10 // a frame takes no more than 1 MiB
		text := err.Error()
		end.Error = strings.ToValidUTF8(text[:min(len(text), most)], "")
		end.Hints = cli.Hints(err)
	}
	return end
}

func asTold(err error) error {
	if err == nil {
		return nil
	}
	return told{err}
}

// beat is how often a receiver says that it is alive.
const beat = 10 * time.Second

func (l Limits) beat() time.Duration {
	if l.Beat != 0 {
		return l.Beat
	}
	return beat
}

// keepAlive has say say now and then that we are alive, until the function that it returns
// is called.
func keepAlive(every time.Duration, say func()) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				say()
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		wg.Wait()
	}
}

// account has do receive what the command line asks for, within the limits, and
// keeps account of it. heard makes a Sink one whose results are kept.
func account(ctx context.Context, limits Limits, cl commandLine, do func(opts options, heard func(report.Sink) report.Sink) (report.Totals, error)) (report.Ended, error) {
	entry := audit.NewEntry()
	entry.Repository, entry.Transport, entry.Asked = cl.Repo, transport(cl.URL), cl.Refs
	err := limits.within(ctx, entry, func(at *locate.Location, c *config.Config, warnings []string, ledger *ledger) (report.Totals, error) {
		overridden, err := cl.override(c)
		if err != nil {
			return report.Totals{}, err
		}
		warnings = append(warnings, overridden...)
		entry.DryRun = c.DryRun
		return do(options{repo: at, url: cl.URL, refs: cl.Refs, config: c, ledger: ledger}, func(sink report.Sink) report.Sink {
			return withWarnings(&recorder{Sink: sink, entry: entry}, warnings)
		})
	})
	return ended(err, entry.Moved()), err
}

func withWarnings(sink report.Sink, warnings []string) report.Sink {
	for _, warning := range warnings {
		sink.Log(report.Warning, warning)
	}
	return sink
}

// override has the command line win over the configuration, and returns what
// is to be said of that. It is an error if it must not.
func (cl commandLine) override(c *config.Config) (warnings []string, err error) {
	if cl.DryRun {
		c.DryRun = true
	}
	if cl.NoUpdate && !c.AllowNoUpdate {
		return nil, cli.Hint(errors.New("--no-update is not allowed here"),
			"push without it, so that the server shows what it has received; allow_no_update in the server's configuration allows it")
	}
	if cl.NoUpdate {
		c.Update = false
	}
	if cl.Force && !c.AllowForce {
		warnings = append(warnings, "--force is not allowed here, and makes no difference")
	} else if cl.Force {
		c.Force = true
	}
	return warnings, nil
}

// textLevel is the least level of what is shown.
func (cl commandLine) textLevel(c *config.Config) report.Level {
	if cl.Quiet || cl.Verbose {
		return cl.Level()
	}
	return c.LogLevel
}

// eventLevel is the least level of what a pusher of ours is told. It decides for
// itself what it shows, so that is everything, unless somebody here wants it
// otherwise.
func (cl commandLine) eventLevel(c *config.Config) report.Level {
	if cl.Quiet || cl.Verbose || c.LogLevelSet {
		return cl.textLevel(c)
	}
	return report.Debug
}

// RestrictedEnv is the variable by which the restricted shell tells a receiver that it runs for
// a pusher, who may do less.
const RestrictedEnv = config.RestrictedEnv

// EventsPrefix begins the first segment of the path of a URL that is served by
// a pusher which reads a receiver's events from its standard output.
const EventsPrefix = "push-"

// transport names the way that objects travel from a source.
func transport(source string) string {
	if source == stream.URL {
		return "stream"
	}
	if readsEvents(source) {
		return "tunnel"
	}
	u, err := url.Parse(source)
	if err != nil {
		return ""
	}
	return u.Scheme
}

func readsEvents(source string) bool {
	u, err := url.Parse(source)
	return err == nil && strings.HasPrefix(u.Path, "/"+EventsPrefix)
}
