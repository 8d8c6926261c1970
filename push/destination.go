package push

import (
	"context"
	"io"

	"ostree-push/report"
)

// destination is where a push goes.
type destination interface {
	// push brings there what the source of a job has, and has what is known of the refs said to the job's text. What it
	// returns says what came of it, whatever the error is; nil: nothing was begun.
	push(ctx context.Context, j job) (*sent, error)
}

// job is what is to be pushed, and how.
type job struct {
	src    *source
	cl     commandLine
	text   *report.Text
	stdout io.Writer // for what is printed there
}

// sent is what came of a push.
type sent struct {
	moved  report.Moved
	totals report.Totals
	said   bool // what became of the refs has been said
}

// destinations has all kinds, in the order in which they are asked whether DEST is one of theirs.
var destinations = []struct {
	takes func(dest string) bool
	// parse reads DEST, and what the options of the command line say of it.
	parse func(cl *commandLine) (destination, error)
}{
	{func(string) bool { return true }, parseSSH},
}

// findDestination returns where the command line wants to push to. An error is a mistake in it.
func findDestination(cl *commandLine) (destination, error) {
	for _, d := range destinations {
		if d.takes(cl.Dest) {
			return d.parse(cl)
		}
	}
	panic("the last destination takes everything")
}

// parseSSH is for a receiver that ssh leads to.
func parseSSH(cl *commandLine) (destination, error) {
	d, err := parseDest(cl.Dest)
	if err != nil {
		return nil, err
	}
	if cl.Port != 0 {
		d.port = int(cl.Port)
	}
	return d, nil
}

func (d dest) push(ctx context.Context, j job) (*sent, error) {
	conn, err := connect(ctx, d, j.cl.sshOptions(), j.text)
	if err != nil {
		return nil, err
	}
	defer conn.close()
	r := newRemote(conn, d, j)
	defer r.close()
	err = r.run(ctx)
	return &sent{r.moved(), r.totals(), r.said.anything()}, err
}
