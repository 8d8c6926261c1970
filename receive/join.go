package receive

import (
	"context"
	"errors"
	"fmt"
	"io"

	"ostree-push/receive/audit"
	"ostree-push/receive/upload"
	"ostree-push/stream"
)

// runJoin has this session join the receive whose secret its pusher sends.
func (cl *commandLine) runJoin(ctx context.Context, p process) error {
	pusher, err := upload.Greet(ctx, p.stdin, p.stdout)
	if err != nil {
		return err
	}
	secret, err := pusher.Secret()
	switch {
	case errors.Is(err, stream.ErrEnded):
		err = nil // the pusher is done without it
	case err != nil && ctx.Err() != nil:
		// It was ended before it was said what to join.
	default:
		err = cl.join(ctx, p, pusher, secret, err)
	}
	return endStream(pusher, ended(err, false), err)
}

// join has standard input read by the receive of a secret, which may not have come as it should. Only if that cannot be, it is worth
// a line in the audit log: what comes of the receive has one.
func (cl *commandLine) join(ctx context.Context, p process, pusher *upload.Pusher, secret string, secretErr error) (err error) {
	entry := audit.NewEntry()
	entry.Repository, entry.Transport, entry.Joins = cl.Repo, cl.transport(), true
	s, err := p.begin(entry, nil)
	if err != nil {
		return err
	}
	defer func() { err = s.end(ctx, err, recover()) }()
	if secretErr != nil {
		return fmt.Errorf("join a push: %w", secretErr)
	}
	conn, err := upload.Join(s.repo.Path(), secret, p.stdin)
	if err != nil {
		return fmt.Errorf("join a push: %w", err)
	}
	defer conn.Close()
	if err := pusher.Joined(); err != nil {
		return err
	}
	// The other receiver has our standard input until it closes this.
	context.AfterFunc(ctx, func() { conn.Close() })
	io.Copy(io.Discard, conn)
	return nil
}
