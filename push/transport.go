package push

import (
	"context"
	"strings"

	"ostree-push/report"
)

// transport is a way in which objects reach a receiver, over a connection. One of them serves one
// push.
type transport interface {
	// try runs a receiver, which asks for the objects in this way, until it ends. How it
	// ended is the outcome, and also that it does not know this transport
	// (outcome.fromOldReceiver). An error is what else ended the push.
	try(ctx context.Context, command []string) (outcome, error)
	// mayMove reports whether the receiver may be moving refs by now.
	mayMove() bool
	// resumable reports whether the receiver keeps what it has, should the connection be lost.
	resumable() bool
	// totals returns what has been sent.
	totals() report.Totals
	// close ends what is not the connection's.
	close()
}

// transports has all of them, in the order in which they are tried.
var transports = []struct {
	name   string // of --transport
	phrase string // for messages
	// start prepares one, for a push with that command line. Nothing runs before it is tried.
	start func(*remote, commandLine) transport
}{
	{"stream", "the stream", newStreamPush},
	{"tunnel", "a tunnel", newTunnel},
}

// anyTransport is the value of --transport that stands for the first one that a receiver knows.
const anyTransport = "auto"

// transportVars returns what the grammar of the command line says of transports.
func transportVars() map[string]string {
	names := []string{anyTransport}
	for _, t := range transports {
		names = append(names, t.name)
	}
	return map[string]string{"transports": strings.Join(names, ","), "transport_choice": strings.Join(names, "|")}
}
