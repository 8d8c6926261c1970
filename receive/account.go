package receive

import (
	"errors"
	"fmt"
	"sync"

	"ostree-push/receive/audit"
	"ostree-push/receive/config"
	"ostree-push/report"
)

// within finds the repository that entry names and the policy for it, and has do
// receive. The audit log gets the entry, whatever comes of that; if there is
// to be a log that cannot be written, nothing is done.
func (l Limits) within(entry *audit.Entry, do func(*location, *config.Config, []string) (report.Totals, error)) (err error) {
	policy, err := l.load()
	if err != nil {
		return err
	}
	at, c, findErr := l.find(policy, entry.Repository)
	if findErr != nil {
		c = policy.Global()
	} else {
		defer at.close()
		entry.Path = at.path
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
	totals, err := do(at, c, policy.Warnings())
	entry.Bytes = totals.Bytes
	return err
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
	r.entry.Refs = append(r.entry.Refs, audit.Ref{
		Ref: string(ref.Ref), Old: ref.Old, New: ref.New, Received: ref.Received, Verdict: string(ref.Status),
	})
	r.Sink.Ref(ref)
}
