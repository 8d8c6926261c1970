package push

import (
	"context"
	"fmt"
	"io"
)

// connection is how commands are run where a receiver is.
type connection interface {
	// run runs a command with arguments to its end. The error is an *exitError if its exit status is not 0,
	// and a *lostError if the connection ended before it.
	run(ctx context.Context, command, args []string, stdout, stderr io.Writer) error
	// talk is like run, and has do talk to the command. It returns when both have ended.
	talk(ctx context.Context, command, args []string, stderr io.Writer, do talker) error
	// forward makes a port of 127.0.0.1 there which is forwarded to that port of 127.0.0.1 here.
	forward(ctx context.Context, local int) (remote int, err error)
	// close ends the connection, and with it everything that uses it.
	close()
}

// talker talks to a remote command by its standard input and output. ctx ends with the
// command.
type talker func(ctx context.Context, stdin io.WriteCloser, stdout io.Reader)

// exitError is the exit status of the remote command.
type exitError struct{ status int }

func (e *exitError) Error() string { return fmt.Sprintf("exit status %d", e.status) }

// lostError says that the connection ended while something was running over it.
type lostError struct{ host string }

func (e *lostError) Error() string { return fmt.Sprintf("the connection to %s is lost", e.host) }

// commandNotFound is what a shell's exit status says of a command that does
// not exist.
const commandNotFound = 127
