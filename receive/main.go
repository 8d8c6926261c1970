// Package receive is the server's end of a push: it takes commits from a stream of
// the pusher's, or pulls them from a URL, into a repository. At every moment each ref shows its old commit or a new
// one of which everything is there. An interruption may leave more: objects to resume from, commits that no ref
// shows and that are marked as partial, and metadata that the next receive brings up to date.
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
	"time"

	"ostree-push/cli"
	"ostree-push/internal/patience"
	"ostree-push/receive/audit"
	"ostree-push/receive/config"
	"ostree-push/receive/upload"
	"ostree-push/report"
	"ostree-push/stream"
)

// commandLine is the program's grammar.
type commandLine struct {
	Repo string   `arg:"" name:"repo" help:"Repository to receive into."`
	URL  string   `arg:"" name:"url" help:"Where to pull from."`
	Refs []string `arg:"" optional:"" name:"ref" sep:"none" help:"Refs to pull; all that the source offers if none are named."`

	DryRun   bool `short:"n" pusher:"" help:"Only show what would be done."`
	Force    bool `short:"f" pusher:"" help:"Receive even if nothing changed or the commits are not newer."`
	NoUpdate bool `pusher:"" help:"Leave the repository's metadata alone."`

	PrintConfig bool `help:"Print the configuration as TOML, and where it is from: in effect for REPO, or for all repositories. Nothing is received."`

	Update bool `help:"Sign commits that lack a signature, and update the metadata or run the hook, without receiving anything: of each REPO, or of those that the configuration names."`

	cli.Common
}

// PusherOptions returns the options of the receivers that whoever may push may use. --print-config, which would show
// the server's policy, is not one of them, nor is what concerns more than one receive.
func PusherOptions() []cli.Option {
	return slices.Concat(cli.PusherOptions(&commandLine{}), cli.PusherOptions(&proto0Line{}))
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
	program, cmd := commandFor(name, args)
	if status, ok := program.Parse(cmd, args, stdout, stderr); !ok {
		return status
	}
	p := process{limits, name, stdin, stdout, stderr}
	if _, prints := cmd.(*printConfigLine); prints {
		// It has nothing to put in order: a signal just ends it.
		return p.exit(cmd.run(context.Background(), p))
	}
	ctx, stop := cli.Signals(context.Background())
	defer stop()
	ctx, unwatch := watchHangup(ctx, stdout, stderr)
	defer unwatch()
	return p.exit(cmd.run(ctx, p))
}

// process is how the program runs: within which limits, under which name, and with which standard streams.
type process struct {
	Limits
	name                  string
	stdin, stdout, stderr *os.File
}

// command is one of the ways to call the program, and the grammar of its arguments.
type command interface {
	// run does what was asked for. ctx ends with the connection, or at a signal.
	run(ctx context.Context, p process) error
}

// commandFor returns which of them a name and arguments are for.
func commandFor(name string, args []string) (cli.Program, command) {
	program := cli.Program{Name: name, Description: "Receive commits into an OSTree repository.", Examples: examples}
	switch {
	case speaksProto0(name, args):
		program.Description = "Receive commits into an OSTree repository from a client older than 0.1.1."
		program.Examples = proto0Examples
		return program, &proto0Line{}
	case asksFor(updateOption, args):
		return program, &updateLine{}
	case asksFor("--print-config", args):
		return program, &printConfigLine{}
	}
	return program, &commandLine{}
}

// told is an error whose reason a pusher of ours has been told. Standard error, which that
// pusher shows as well, need not have it again.
type told struct{ error }

func (e told) Unwrap() error { return e.error }

// exit says why the program failed, if it did and nobody has been told, and returns its
// exit status.
func (p process) exit(err error) int {
	if err != nil && !errors.As(err, new(told)) {
		fmt.Fprintf(p.stderr, "%s: %v\n", p.name, err)
		cli.PrintHints(p.stderr, p.name, err)
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

// way is a way in which a receive can be asked for, told by the URL. It decides where objects come from, and how is said what
// came of it.
type way struct {
	name string                // in the audit log; "": the scheme of the URL
	is   func(url string) bool // asked for
	run  func(*commandLine, context.Context, process) error
}

// ways returns all of them. The first one that is asked for counts, and the last one always is.
func ways() []way {
	return []way{
		{"stream", func(url string) bool { return url == stream.URL }, (*commandLine).runStream},
		{"stream", func(url string) bool { return url == stream.JoinURL }, (*commandLine).runJoin},
		{"tunnel", readsEvents, (*commandLine).runTunnel},
		{"", func(string) bool { return true }, (*commandLine).runText},
	}
}

// way returns the way that the command line asks for.
func (cl *commandLine) way() way {
	all := ways()
	return all[slices.IndexFunc(all, func(w way) bool { return w.is(cl.URL) })]
}

// run receives.
func (cl *commandLine) run(ctx context.Context, p process) error { return cl.way().run(cl, ctx, p) }

// runStream receives from a pusher's stream, in which it also says what happens.
func (cl *commandLine) runStream(ctx context.Context, p process) error {
	pusher, err := upload.Greet(ctx, p.stdin, p.stdout)
	if err != nil {
		return err
	}
	end, err := cl.receiveFor(ctx, p, report.NewEvents(pusher.Events(), report.Debug), pusher)
	return endStream(pusher, end, err)
}

// endStream tells a pusher how the receive ended, so that nobody else need be told.
func endStream(pusher *upload.Pusher, end report.Ended, err error) error {
	if pusher.End(end) != nil {
		return err
	}
	return asTold(err)
}

// runTunnel receives from a pusher's URL, and says what happens on standard output.
func (cl *commandLine) runTunnel(ctx context.Context, p process) error {
	say := report.NewEvents(p.stdout, report.Debug)
	say.Alive() // whoever hears that knows that more of it will come
	end, err := cl.receiveFor(ctx, p, say, nil)
	say.Ended(end)
	return asTold(err)
}

// receiveFor receives for a pusher of ours, which say tells what happens, and returns how that ended as the pusher is to be told.
func (cl *commandLine) receiveFor(ctx context.Context, p process, say *report.Events, pusher *upload.Pusher) (end report.Ended, err error) {
	defer patience.Every(p.beat(), say.Alive)() // it tells now and then that we are alive
	s, err := cl.begin(p.Limits, pusher)
	if err != nil {
		return ended(err, false), err
	}
	defer func() {
		err = s.end(ctx, err, recover())
		end = ended(err, s.entry.Moved())
	}()
	var events report.Sink = say.AtLeast(cl.eventLevel(s.config))
	if pusher != nil {
		events = pusher.Sink(events)
	}
	sink := s.record(events)
	output := report.NewLines(func(line string) { sink.Log(report.Info, line) })
	defer output.Flush()
	_, err = s.serve(ctx, request{cl.URL, cl.Refs}, sink, output)
	return end, err
}

// runText receives from a URL for somebody who reads text.
func (cl *commandLine) runText(ctx context.Context, p process) (err error) {
	s, err := cl.begin(p.Limits, nil)
	if err != nil {
		return err
	}
	defer func() { err = s.end(ctx, err, recover()) }()
	text := report.NewText(p.stderr, p.name, textLevel(cl.Common, s.config))
	start := time.Now()
	totals, err := s.serve(ctx, request{cl.URL, cl.Refs}, s.record(text), outputIn(text))
	totals.Seconds = time.Since(start).Seconds()
	if refs := text.Refs(); len(refs) > 0 {
		text.Finish(report.Result{Destination: cl.Repo, DryRun: s.config.DryRun, Refs: refs, Totals: totals})
	}
	return err
}

// request is what is to be received.
type request struct {
	url  string   // if it is not the session's pusher that has it
	refs []string // none: all
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

// begin begins a session for what the command line asks for, with a pusher, or nil.
func (cl *commandLine) begin(limits Limits, pusher *upload.Pusher) (*session, error) {
	entry := audit.NewEntry()
	entry.Repository, entry.Transport, entry.Asked = cl.Repo, cl.transport(), cl.Refs
	s, err := limits.begin(entry, pusher)
	if err != nil {
		return nil, err
	}
	if err := s.override(cl); err != nil {
		return nil, err
	}
	return s, nil
}

// override has the command line win over the configuration, and returns what
// is to be said of that. It is an error if it must not.
func (cl *commandLine) override(c *config.Config) (warnings []string, err error) {
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
func textLevel(common cli.Common, c *config.Config) report.Level {
	if common.Quiet || common.Verbose {
		return common.Level()
	}
	return c.LogLevel
}

// eventLevel is the least level of what a pusher of ours is told. It decides for
// itself what it shows, so that is everything, unless somebody here wants it
// otherwise.
func (cl *commandLine) eventLevel(c *config.Config) report.Level {
	if cl.Quiet || cl.Verbose || c.LogLevelSet {
		return textLevel(cl.Common, c)
	}
	return report.Debug
}

// RestrictedEnv is the variable by which the restricted shell tells a receiver that it runs for
// a pusher, who may do less.
const RestrictedEnv = config.RestrictedEnv

// transport names, for the audit log, the way that objects travel.
func (cl *commandLine) transport() string {
	if name := cl.way().name; name != "" {
		return name
	}
	u, err := url.Parse(cl.URL)
	if err != nil {
		return ""
	}
	return u.Scheme
}

// readsEvents reports whether a URL is that of a pusher of ours, in a tunnel.
func readsEvents(source string) bool {
	u, err := url.Parse(source)
	return err == nil && strings.HasPrefix(u.Path, "/"+report.EventsPrefix)
}
