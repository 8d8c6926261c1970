// Package cli is what the command lines of the programs share: how they are
// parsed, how they end, and how signals reach them.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"ostree-push/ostree"
)

// Exit statuses. A program that a signal ended exits with 128 and the signal's
// number, as shells have it.
const (
	ExitDone   = 0
	ExitFailed = 1
	ExitUsage  = 2
	// ExitRejected: all is done, but refs were rejected.
	ExitRejected = 3
)

// UsageError is a mistake in the command line.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Program is what --help says of a program, besides its options.
type Program struct {
	Name        string
	Description string
	Examples    string // lines, as they are shown
	// Vars are what ${NAME} stands for in the tags of the grammar.
	Vars map[string]string
}

// helpWidth is the most columns that --help takes.
const helpWidth = 80

// Parse reads args into grammar, a kong struct. When it returns false, the
// program ends with the status returned: after --help and --version, and after a
// usage error, which has been reported on stderr.
func (p Program) Parse(grammar any, args []string, stdout, stderr io.Writer) (status int, ok bool) {
	type exit int
	defer func() {
		switch e := recover().(type) {
		case nil:
		case exit:
			status, ok = int(e), false
		default:
			panic(e)
		}
	}()
	parser := p.parser(grammar,
		kong.Writers(stdout, stderr),
		kong.Exit(func(status int) { panic(exit(status)) }),
	)
	if _, err := parser.Parse(args); err != nil {
		var parseErr *kong.ParseError
		if errors.As(err, &parseErr) {
			fmt.Fprintf(stderr, "%s\n", usageLine(parseErr.Context))
		}
		fmt.Fprintf(stderr, "%s: error: %v\n", p.Name, err)
		PrintHints(stderr, p.Name, Hint(err, "%s --help lists the options, with examples", p.Name))
		return ExitUsage, false
	}
	return ExitDone, true
}

func (p Program) parser(grammar any, options ...kong.Option) *kong.Kong {
	parser, err := kong.New(grammar, append(options,
		kong.Name(p.Name),
		kong.Description(p.Description),
		kong.Vars{"version": p.version()}.CloneWith(p.Vars),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: helpWidth}),
		kong.Help(p.help),
	)...)
	if err != nil {
		panic(err) // the grammar is wrong
	}
	parser.Model.HelpFlag.Help = "Show this and exit."
	return parser
}

// Option is one that a grammar has.
type Option struct {
	Long     string // with its --
	Short    string // the letter; "": it has none
	HasValue bool
}

// pusherTag marks an option in a grammar of the receiver's that concerns nothing but the receive, so that whoever may push may use it.
const pusherTag = "pusher"

// PusherOptions returns those options of a grammar that have pusherTag, and --help.
func PusherOptions(grammar any) (options []Option) {
	model := Program{}.parser(grammar).Model
	for _, flag := range model.Flags {
		if flag != model.HelpFlag && !flag.Tag.Has(pusherTag) {
			continue
		}
		option := Option{Long: "--" + flag.Name, HasValue: !flag.IsBool()}
		if flag.Short != 0 {
			option.Short = string(flag.Short)
		}
		options = append(options, option)
	}
	return options
}

// help prints what kong knows of the grammar, and the examples.
func (p Program) help(options kong.HelpOptions, c *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, c); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.Stdout, "\nExamples:\n%s\n", strings.Trim(p.Examples, "\n"))
	return err
}

// usageLine returns the first line of kong's help: "Usage: …".
func usageLine(c *kong.Context) string {
	var help strings.Builder
	c.Stdout = &help
	if err := c.PrintUsage(true); err != nil {
		return "Usage: " + c.Model.Name
	}
	line, _, _ := strings.Cut(help.String(), "\n")
	return line
}

// What the linker sets: the version, and the commit of the source tree.
var (
	version = "devel"
	commit  = "unknown"
)

// version is what --version prints. Its first line is that of the Python program,
// which scripts may read.
func (p Program) version() string {
	return fmt.Sprintf("%s %s\ncommit %s\nlibostree %s", p.Name, version, commit, ostree.Version())
}

// SignalError is the cause of a context that a signal ended.
type SignalError struct{ Signal os.Signal }

func (e *SignalError) Error() string { return e.Signal.String() }

// Signals returns a context that ends with a SignalError when the program is
// told to stop: by SIGINT, SIGTERM or SIGHUP. Further signals change nothing,
// since everything that follows the first is cleaning up and takes a bounded
// time. SIGPIPE is caught, so that a program whose reader has gone can clean up
// too: its writes fail instead.
func Signals(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, unix.SIGPIPE)
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		select {
		case s := <-stopped:
			cancel(&SignalError{s})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(context.Canceled)
		wg.Wait()
		signal.Stop(stopped)
	}
}

// ExitStatus returns the exit status of a program that ended with err.
func ExitStatus(err error) int {
	var (
		signalled *SignalError
		usage     *UsageError
	)
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &signalled):
		if s, ok := signalled.Signal.(unix.Signal); ok {
			return 128 + int(s)
		}
	case errors.As(err, &usage):
		return ExitUsage
	}
	return ExitFailed
}
