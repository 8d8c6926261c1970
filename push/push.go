package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"ostree-push/cli"
	"ostree-push/ostree"
	"ostree-push/report"
	"ostree-push/stream"
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
	refs, err := localRefs(ctx, repo, cl.Refs, warn)
	if err != nil {
		return result, err
	}

	src, err := newSource(repo, refs, warn)
	if err != nil {
		return result, err
	}
	conn, err := connect(ctx, cl.dest, cl.sshOptions(), text)
	if err != nil {
		return result, err
	}
	defer conn.close()
	way := &tunnel{src: src, conn: conn, text: text}
	defer way.close()

	run := receiverRun{
		conn:     conn,
		commands: cl.Command,
		args: func(ctx context.Context) ([]string, error) {
			url, err := way.url(ctx)
			return receiverArgs(cl, url), err
		},
		started:    src.requested,
		streamArgs: receiverArgs(cl, stream.URL),
		joinArgs:   []string{cl.dest.repo, stream.JoinURL},
		only:       cl.Transport == "stream",
		dryRun:     cl.DryRun,
		text:       text,
		stdout:     remoteStdout,
		silence:    &silence{host: cl.dest.host, patience: cl.patience},
		heard:      heard{Sink: text},
	}
	if cl.Transport != "tunnel" {
		run.stream = &streamPush{src: src, named: cl.Refs, channels: cl.Channels}
	}
	err = run.run(ctx)

	result.Refs, result.Moved = text.Refs(), run.moved()
	result.Totals = src.totals()
	if run.stream != nil {
		result.Totals.Objects += run.stream.totals.Objects
		result.Totals.Bytes += run.stream.totals.Bytes
	}
	result.Totals.Seconds = time.Since(start).Seconds()
	if err == nil && !run.heard.events {
		result.Refs = offered(refs, cl.Refs)
	}
	return result, err
}

// tunnel serves the source through the connection, from when it is first needed.
type tunnel struct {
	src  *source
	conn *connection
	text *report.Text

	address string
	stop    func()
}

// url returns the URL at which the server finds the source.
func (t *tunnel) url(ctx context.Context) (string, error) {
	if t.address != "" {
		return t.address, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("serve %s: %w", t.src.repo.Path(), err)
	}
	t.stop = t.src.serve(listener)
	t.text.Log(report.Debug, fmt.Sprintf("Serving %s on %s", t.src.repo.Path(), listener.Addr()))
	port, err := t.conn.forward(ctx, listener.Addr().(*net.TCPAddr).Port)
	if err != nil {
		return "", err
	}
	t.text.Log(report.Debug, fmt.Sprintf("The server forwards its port %d to it", port))
	t.address = t.src.url(port)
	return t.address, nil
}

func (t *tunnel) close() {
	if t.stop != nil {
		t.stop()
	}
}

// openLocal opens the repository to push from.
func openLocal(path string) (*ostree.Repo, error) {
	if path == "" {
		repo, err := ostree.OpenDefault()
		if err != nil {
			return nil, cli.Hint(fmt.Errorf("open local repository: %w", err), "name the repository to push from with --repo, or in OSTREE_REPO")
		}
		return repo, nil
	}
	repo, err := ostree.Open(path)
	if errors.Is(err, ostree.ErrNotFound) {
		return nil, cli.Hint(fmt.Errorf("open local repository: %s is not an OSTree repository", path),
			"--repo is to name the repository to push from; the one on the server is part of DEST")
	}
	if err != nil {
		return nil, fmt.Errorf("open local repository %s: %w", path, err)
	}
	return repo, nil
}

// localRefs returns the local refs that are to be pushed: those that are named, or else all whose commits are there in
// whole. One that is bad is no reason not to push the others.
func localRefs(ctx context.Context, repo *ostree.Repo, named []string, warn func(string)) (ostree.Refs, error) {
	list, err := repo.ListRefs(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the refs of %s: %w", repo.Path(), err)
	}
	refs, bad := list.Refs, list.Bad
	var missing []string
	for _, name := range named {
		ref := ostree.Ref(name)
		if _, ok := refs[ref]; !ok && bad[ref] == nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, hintMissing(fmt.Errorf("Refs %s not found in %s", strings.Join(slices.Compact(missing), " "), repo.Path()), repo, missing)
	}
	if len(refs) == 0 && len(bad) == 0 {
		warn(fmt.Sprintf("%s has no refs of its own", repo.Path()))
	}
	if len(named) > 0 {
		isNamed := func(ref ostree.Ref) bool { return slices.Contains(named, string(ref)) }
		maps.DeleteFunc(refs, func(ref ostree.Ref, _ ostree.Checksum) bool { return !isNamed(ref) })
		maps.DeleteFunc(bad, func(ref ostree.Ref, _ error) bool { return !isNamed(ref) })
	}
	for ref, sum := range refs {
		if err := checkWhole(repo, sum); err != nil {
			bad[ref] = err
		}
	}
	for _, ref := range slices.Sorted(maps.Keys(bad)) {
		if len(named) > 0 {
			return nil, fmt.Errorf("ref %s: %w", ref, bad[ref])
		}
		warn(fmt.Sprintf("ref %s is not pushed: %v", ref, bad[ref]))
		delete(refs, ref)
	}
	return refs, nil
}

// checkWhole returns an error if a commit is not there, or only a part of it.
func checkWhole(repo *ostree.Repo, sum ostree.Checksum) error {
	commit, err := repo.LoadCommit(sum)
	if err != nil {
		return fmt.Errorf("load commit %s: %w", sum, err)
	}
	commit.Close()
	if commit.Partial {
		return cli.Hint(fmt.Errorf("commit %s is partial: some of its objects are not in %s", sum, repo.Path()), "pull it completely first")
	}
	return nil
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
