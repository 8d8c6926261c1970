package push

import (
	"context"
	"fmt"
	"io"
	"time"

	"ostree-push/ostree"
	"ostree-push/report"
)

// push is the whole job.
func push(ctx context.Context, cl commandLine, text *report.Text, remoteStdout io.Writer) (result report.Result, err error) {
	start := time.Now()
	result = report.Result{Destination: cl.Dest, DryRun: cl.DryRun, Moved: report.MovedNo}

	repo, err := openLocal(cl.Repo)
	if err != nil {
		return result, err
	}
	defer repo.Close()
	unlock, err := repo.LockShared(ctx)
	if err != nil {
		return result, fmt.Errorf("lock local repository %s: %w", repo.Path(), err)
	}
	defer unlock()
	warn := func(problem string) { text.Log(report.Warning, problem) }
	refs, digests, err := localRefs(ctx, repo, cl.Refs, warn)
	if err != nil {
		return result, err
	}

	src, err := newSource(repo, refs, digests, warn)
	if err != nil {
		return result, err
	}
	end, err := cl.to.push(ctx, job{src, cl, text, remoteStdout})
	if end == nil {
		return result, err
	}
	result.Refs, result.Moved, result.Totals = text.Refs(), end.moved, end.totals
	result.Totals.Seconds = time.Since(start).Seconds()
	if err == nil && !end.said {
		result.Refs = offered(refs)
	}
	return result, err
}

// offered is the result where the receiver does not say what it did.
func offered(refs ostree.Refs) []report.Ref {
	var results []report.Ref
	for _, ref := range refs.Sorted() {
		results = append(results, report.Ref{Ref: ref, Status: report.Offered, Received: refs[ref].String()})
	}
	return results
}
