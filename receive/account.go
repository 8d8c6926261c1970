package receive

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"ostree-push/ostree"
	"ostree-push/receive/audit"
	"ostree-push/receive/config"
	"ostree-push/receive/locate"
	"ostree-push/report"
	"ostree-push/stream"
)

// within finds the repository that entry names and the policy for it, and has do
// receive. The audit log gets the entry, whatever comes of that; if there is
// to be a log that cannot be written, nothing is done. If ctx has ended before a ref has
// moved, the cause of that is the error: whatever failed then failed because of it.
func (l Limits) within(ctx context.Context, entry *audit.Entry, do func(*locate.Location, *config.Config, []string, *ledger) (report.Totals, error)) (err error) {
	policy, err := l.load()
	if err != nil {
		return err
	}
	at, c, findErr := l.find(policy, entry.Repository)
	if findErr != nil {
		c = policy.Global()
	} else {
		defer at.Close()
		entry.Path = at.Abs
	}
	log, err := audit.Open(c.AuditLog)
	if err != nil {
		return errors.Join(findErr, err)
	}
	defer log.Close()
	defer func() {
		p := recover()
		if p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		if err == nil && entry.Joins && p == nil {
			return
		}
		entry.Finish(err)
		err = errors.Join(err, log.Write(entry))
		if p != nil {
			panic(p)
		}
	}()
	if findErr != nil {
		return findErr
	}
	totals, err := do(at, c, policy.Warnings(), &ledger{log, entry})
	entry.Bytes = totals.Bytes
	if !entry.Moved() && isEnd(ctx, err) {
		err = withCause(ctx, err)
	}
	return err
}

// isEnd reports whether an error is no more than that all is over.
func isEnd(ctx context.Context, err error) bool {
	return errors.Is(err, context.Cause(ctx)) || errors.Is(err, ostree.ErrCancelled) || errors.Is(err, context.Canceled) ||
		errors.Is(err, stream.ErrEnded) || errors.Is(err, errClientGone) || errors.Is(err, syscall.EPIPE)
}

// recorder is a Sink that keeps the results of refs for the audit log.
type recorder struct {
	report.Sink
	mu    sync.Mutex
	entry *audit.Entry
}

func (r *recorder) Ref(ref report.Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entry.Refs = append(r.entry.Refs, auditRef(ref))
	r.Sink.Ref(ref)
}

func auditRef(ref report.Ref) audit.Ref {
	return audit.Ref{Ref: string(ref.Ref), Old: ref.Old, New: ref.New, Received: ref.Received, Verdict: string(ref.Status)}
}

// ledger puts on record what a receive is about to do: should it be killed, its last line is never
// written.
type ledger struct {
	log   *audit.Log
	entry *audit.Entry
}

// intend records that refs are about to move. Its line has the ID of the last one.
func (l *ledger) intend(due []*verdict) error {
	line := *l.entry
	line.Refs = nil
	for _, v := range due {
		line.Refs = append(line.Refs, auditRef(v.result()))
	}
	line.Verdict, line.Seconds = audit.Intended, time.Since(line.Time).Seconds()
	return l.log.Write(&line)
}
