// Package push is the client's end of a push: it runs the receiver on the remote host through
// ssh, and sends it commits of a local repository, or serves that repository to it.
//
// The behaviour of the program is that of the Python ostree-push 1.2.0; how it
// is built is in docs/design.md.
package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"ostree-push/cli"
	"ostree-push/report"
	"ostree-push/stream"
)

// commandLine is the program's grammar.
type commandLine struct {
	Dest string   `arg:"" name:"dest" help:"Where to push: [user@]host:path/to/repo or ssh://[user@]host[:port]/path/to/repo."`
	Refs []string `arg:"" optional:"" name:"ref" sep:"none" help:"Refs to push; all if none are named."`

	DryRun   bool     `short:"n" help:"Only show what would be done."`
	Port     uint16   `short:"p" help:"Port of the ssh server; wins over a port in DEST." placeholder:"PORT"`
	Repo     string   `help:"Local repository; default: the current directory if it is one, else $$OSTREE_REPO, else /ostree/repo." placeholder:"PATH"`
	Command  []string `sep:"none" help:"Command to run on the remote host; of several, the first that exists there. Default: ostree-receive-1, then ostree-receive." placeholder:"COMMAND"`
	Identity []string `short:"i" sep:"none" help:"Identity file for ssh." placeholder:"FILE"`
	Option   []string `short:"o" sep:"none" help:"Option for ssh; may be repeated." placeholder:"OPTION"`
	// Transport is how objects travel.
	Transport string `enum:"${transports}" default:"auto" help:"How objects travel: in one stream, or pulled through a tunnel. The default, auto, is the stream if the server knows it." placeholder:"${transport_choice}"`
	Channels  *int   `help:"Sessions that the stream of a large push is spread over, at most; default: 4, and up to 10 over a long line." placeholder:"N"`
	JSON      bool   `name:"json" help:"Print the result as JSON on standard output."`

	cli.Common

	to       destination
	patience time.Duration // with a receiver that says nothing
}

// AfterApply checks what the grammar cannot say, so that it is a usage error.
// kong calls it.
func (cl *commandLine) AfterApply() error {
	to, err := findDestination(cl)
	if err != nil {
		return err
	}
	cl.to = to
	if len(cl.Identity) > 1 {
		return errors.New("option -i can only be specified once")
	}
	if cl.Channels != nil && (*cl.Channels < 1 || *cl.Channels > stream.MaxChannels) {
		return fmt.Errorf("--channels must be from 1 to %d", stream.MaxChannels)
	}
	if len(cl.Command) == 0 {
		cl.Command = []string{"ostree-receive-1", "ostree-receive"}
	}
	return nil
}

// sshOptions are what the user wants handed to ssh.
func (cl *commandLine) sshOptions() []string {
	var opts []string
	for _, file := range cl.Identity {
		opts = append(opts, "-i", file)
	}
	for _, option := range cl.Option {
		opts = append(opts, "-o", option)
	}
	return opts
}

const examples = `
  Push one ref, through ssh as "ssh builder@example.org" connects:
    ostree-push builder@example.org:/srv/repo app/org.example.App/x86_64/stable

  Push all refs of another repository, to a port, with a key:
    ostree-push --repo=repo -i key ssh://builder@example.org:2222/srv/repo

  See what a push would do:
    ostree-push -n builder@example.org:/srv/repo

  Use a receiver that is not on the server's PATH:
    ostree-push --command=/opt/bin/ostree-receive builder@example.org:repo

  Push from a script, which reads what came of each ref:
    ostree-push -q --json builder@example.org:/srv/repo stable >result.json
`

// Main is the program: args are its arguments without the name.
func Main(name string, args []string, stdin, stdout, stderr *os.File) int {
	return MainPatient(usualPatience, name, args, stdin, stdout, stderr)
}

// MainPatient is the program, with another patience with a receiver that says nothing.
func MainPatient(patience time.Duration, name string, args []string, _, stdout, stderr *os.File) int {
	cl := commandLine{patience: patience}
	program := cli.Program{Name: name, Description: "Push commits of an OSTree repository to another one over SSH.", Examples: examples, Vars: transportVars()}
	if status, ok := program.Parse(&cl, args, stdout, stderr); !ok {
		return status
	}
	text := report.NewText(stderr, name, cl.Level())

	ctx, stop := cli.Signals(context.Background())
	defer stop()
	result, err := push(ctx, cl, text, remoteStdout(cl, stdout, stderr))
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	if err != nil {
		err = fmt.Errorf("push to %s: %w", cl.Dest, withMoved(err, result.Moved))
		result.Error = err.Error()
	}
	if err == nil || len(result.Refs) > 0 {
		text.Finish(result)
	}
	if cl.JSON {
		if jsonErr := result.WriteJSON(stdout); err == nil && jsonErr != nil {
			err = fmt.Errorf("write the result: %w", jsonErr)
		}
	}
	if err != nil {
		text.Println(fmt.Sprintf("%s: %v", name, err))
		cli.PrintHints(stderr, name, err)
	}
	if err == nil && result.Rejected() {
		return cli.ExitRejected
	}
	return cli.ExitStatus(err)
}

var saysMoved = regexp.MustCompile(`refs (?:are updated|have moved)`)

// withMoved has an error say what became of the refs, unless none has moved.
func withMoved(err error, moved report.Moved) error {
	switch {
	case moved == report.MovedUnknown:
		return fmt.Errorf("%w; whether refs are updated is not known", err)
	case moved == report.MovedYes && !saysMoved.MatchString(err.Error()):
		return fmt.Errorf("%w; refs are updated", err)
	}
	return err
}

// remoteStdout is where the remote command's standard output goes: to ours,
// unless that is for the JSON document alone.
func remoteStdout(cl commandLine, stdout, stderr io.Writer) io.Writer {
	if cl.JSON {
		return stderr
	}
	return stdout
}
