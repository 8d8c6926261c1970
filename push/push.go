package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"ostree-push/ostree"
	"ostree-push/report"
)

// push is the whole job.
func push(ctx context.Context, cl commandLine, text *report.Text, remoteStdout io.Writer) (result report.Result, err error) {
	start := time.Now()
	result = report.Result{Destination: cl.Dest, DryRun: cl.DryRun}

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
	refs, err := localRefs(ctx, repo, cl.Refs)
	if err != nil {
		return result, err
	}

	src, err := newSource(repo, refs, func(problem string) { text.Log(report.Warning, problem) })
	if err != nil {
		return result, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return result, fmt.Errorf("serve %s: %w", repo.Path(), err)
	}
	stopServing := src.serve(listener)
	defer stopServing()
	text.Log(report.Debug, fmt.Sprintf("Serving %s on %s", repo.Path(), listener.Addr()))

	conn, err := connect(ctx, cl.dest, cl.sshOptions(), text)
	if err != nil {
		return result, err
	}
	defer conn.close()
	port, err := conn.forward(ctx, listener.Addr().(*net.TCPAddr).Port)
	if err != nil {
		return result, err
	}
	text.Log(report.Debug, fmt.Sprintf("The server forwards its port %d to it", port))

	run := receiverRun{
		conn:     conn,
		commands: cl.Command,
		args:     receiverArgs(cl, src.url(port)),
		started:  src.requested,
		text:     text,
		stdout:   remoteStdout,
	}
	err = run.run(ctx)

	result.Refs = text.Refs()
	result.Totals = src.totals()
	result.Totals.Seconds = time.Since(start).Seconds()
	if err == nil && !run.events {
		result.Refs = offered(refs, cl.Refs)
	}
	return result, err
}

// openLocal opens the repository to push from.
func openLocal(path string) (*ostree.Repo, error) {
	if path == "" {
		repo, err := ostree.OpenDefault()
		if err != nil {
			return nil, fmt.Errorf("open local repository: %w (name it with --repo)", err)
		}
		return repo, nil
	}
	repo, err := ostree.Open(path)
	if errors.Is(err, ostree.ErrNotFound) {
		return nil, fmt.Errorf("open local repository: %s is not an OSTree repository", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open local repository %s: %w", path, err)
	}
	return repo, nil
}

// localRefs returns the local refs, and makes sure that those that are to be
// pushed are there and have their commits.
func localRefs(ctx context.Context, repo *ostree.Repo, named []string) (ostree.Refs, error) {
	refs, err := repo.Refs(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the refs of %s: %w", repo.Path(), err)
	}
	var missing []string
	pushed := refs
	if len(named) > 0 {
		pushed = ostree.Refs{}
	}
	for _, name := range named {
		sum, ok := refs[ostree.Ref(name)]
		if !ok {
			missing = append(missing, name)
			continue
		}
		pushed[ostree.Ref(name)] = sum
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, fmt.Errorf("Refs %s not found in %s", strings.Join(slices.Compact(missing), " "), repo.Path())
	}
	for _, ref := range pushed.Sorted() {
		commit, err := repo.LoadCommit(pushed[ref])
		if err != nil {
			return nil, fmt.Errorf("ref %s: load commit %s: %w", ref, pushed[ref], err)
		}
		commit.Close()
		if commit.Partial {
			return nil, fmt.Errorf("ref %s: commit %s is partial: some of its objects are not in %s (pull it completely first)",
				ref, pushed[ref], repo.Path())
		}
	}
	return refs, nil
}

// receiverArgs is what follows the remote command.
func receiverArgs(cl commandLine, url string) []string {
	var args []string
	if cl.DryRun {
		args = append(args, "-n")
	}
	args = append(args, cl.dest.repo, url)
	return append(args, cl.Refs...)
}

// offered is the result where the receiver does not say what it did.
func offered(refs ostree.Refs, named []string) []report.Ref {
	var results []report.Ref
	for _, ref := range refs.Sorted() {
		if len(named) > 0 && !slices.Contains(named, string(ref)) {
			continue
		}
		results = append(results, report.Ref{Ref: ref, Status: report.Offered, Received: refs[ref].String()})
	}
	return results
}
