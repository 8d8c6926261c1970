package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"ostree-push/cli"
	"ostree-push/internal/patience"
	"ostree-push/ostree"
	"ostree-push/receive/audit"
	"ostree-push/receive/config"
	"ostree-push/receive/locate"
	"ostree-push/receive/upload"
	"ostree-push/report"
	"ostree-push/stream"
)

// session is one call of the program for one repository: where that is, the policy for it, and what the audit log gets.
// Whoever begins one ends it.
type session struct {
	repo     *locate.Location
	config   *config.Config
	warnings []string // of the configuration, and of what the command line asks for in vain
	entry    *audit.Entry
	log      *audit.Log
	pusher   *upload.Pusher // of the stream; nil: objects come in another way
}

// begin finds the repository that entry names, and the policy for it. The audit log gets the entry, whatever comes of
// that; if there is to be a log that cannot be written, nothing is done. pusher, or nil, tells which refs are asked for, if entry does not.
func (l Limits) begin(entry *audit.Entry, pusher *upload.Pusher) (*session, error) {
	policy, err := l.load()
	if err != nil {
		return nil, err
	}
	at, c, findErr := l.find(policy, entry.Repository)
	if findErr != nil {
		c = policy.Global()
	} else {
		entry.Path = at.Abs
	}
	log, err := audit.Open(c.AuditLog)
	if err != nil {
		if at != nil {
			at.Close()
		}
		return nil, errors.Join(findErr, err)
	}
	s := &session{repo: at, config: c, warnings: policy.Warnings(), entry: entry, log: log, pusher: pusher}
	if findErr != nil {
		return nil, s.end(context.Background(), findErr, nil)
	}
	return s, nil
}

// override has the command line win over the configuration, or is an error if it must not.
func (s *session) override(cl *commandLine) error {
	warnings, err := cl.override(s.config)
	if err != nil {
		return s.end(context.Background(), err, nil)
	}
	s.warnings = append(s.warnings, warnings...)
	s.entry.DryRun = s.config.DryRun
	return nil
}

// end writes the entry of the audit log, and returns how the session ended: with err, or in a panic, which goes on. If ctx has ended
// before a ref has moved, the cause of that is the error: whatever failed then failed because of it.
func (s *session) end(ctx context.Context, err error, panicked any) error {
	if s.repo != nil {
		defer s.repo.Close()
	}
	defer s.log.Close()
	if panicked != nil {
		err = fmt.Errorf("panic: %v", panicked)
	} else if !s.entry.Moved() && isEnd(ctx, err) {
		err = patience.Cause(ctx, err)
	}
	s.noteAsked(ctx)
	// What comes of a receive that was joined has an entry of its own.
	if err != nil || !s.entry.Joins {
		s.entry.Finish(err)
		err = errors.Join(err, s.log.Write(s.entry))
	}
	if panicked != nil {
		panic(panicked)
	}
	return err
}

// noteAsked notes for the audit log which refs a pusher offers, unless some are named already. There may be a great many.
func (s *session) noteAsked(ctx context.Context) {
	const most = 1000
	if s.pusher == nil || s.log == nil || len(s.entry.Asked) > 0 {
		return
	}
	refs := s.pusher.Asked(ctx)
	s.entry.Asked = refs[:min(len(refs), most)]
}

// isEnd reports whether an error is no more than that all is over.
func isEnd(ctx context.Context, err error) bool {
	return errors.Is(err, context.Cause(ctx)) || errors.Is(err, ostree.ErrCancelled) || errors.Is(err, context.Canceled) ||
		errors.Is(err, stream.ErrEnded) || errors.Is(err, errClientGone) || errors.Is(err, syscall.EPIPE)
}

// record returns a Sink that hands on to another one, which has been told of the session's warnings, and keeps the results of refs
// for the audit log.
func (s *session) record(sink report.Sink) report.Sink {
	for _, warning := range s.warnings {
		sink.Log(report.Warning, warning)
	}
	return &recorder{Sink: sink, entry: s.entry}
}

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

// intend records that refs are about to move: should this process be killed, the last line of the audit log is never
// written. The line has the ID of that one.
func (s *session) intend(due []*verdict) error {
	line := *s.entry
	line.Refs = nil
	for _, v := range due {
		line.Refs = append(line.Refs, auditRef(v.result()))
	}
	line.Verdict, line.Seconds = audit.Intended, time.Since(line.Time).Seconds()
	return s.log.Write(&line)
}

// serve receives what was requested. output is for that of programs which are run.
func (s *session) serve(ctx context.Context, req request, sink report.Sink, output io.Writer) (totals report.Totals, err error) {
	from := origin{pusher: s.pusher}
	if from.pusher == nil {
		if from.url, err = s.config.CheckURL(req.url); err != nil {
			return totals, cli.Hint(err, "allowed_urls in the server's configuration has those that may be pulled from")
		}
	}
	r, err := s.open(sink, output)
	if err != nil {
		return totals, err
	}
	defer r.close()
	totals, err = r.receive(ctx, from, req.refs)
	s.entry.Bytes = totals.Bytes
	return totals, err
}
