package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"ostree-push/cli"
	"ostree-push/ostree"
	"ostree-push/receive/audit"
	"ostree-push/receive/config"
	"ostree-push/report"
)

// This file is the receiving end of protocol 0, which clients older than 0.1.1
// speak: they say which refs are to move, and send objects that nobody asked
// for. Its messages are in zerowire.go.

// zeroLine is the grammar of protocol 0's command line.
type zeroLine struct {
	Repo  string `required:"" help:"Repository to receive into." placeholder:"PATH"`
	Debug bool   `help:"As --verbose."`

	cli.Common
}

const zeroExamples = `
  Receive from such a client, which runs it on the server:
    ostree-receive-0 --repo=/srv/repo
`

// speaksZero reports whether a program called name with args speaks protocol 0.
func speaksZero(name string, args []string) bool {
	switch name {
	case "ostree-receive-0":
		return true
	case "ostree-receive":
		for _, arg := range args {
			if strings.HasPrefix(arg, "--repo") {
				return true
			}
		}
	}
	return false
}

// runZero receives from a client of protocol 0 on standard input and output.
func runZero(ctx context.Context, limits Limits, cl zeroLine, name string, stdin, stdout, stderr *os.File) error {
	entry := audit.NewEntry()
	entry.Repository, entry.Transport = cl.Repo, "protocol-0"
	return limits.within(entry, func(at *location, c *config.Config, warnings []string, ledger *ledger) (report.Totals, error) {
		entry.DryRun = c.DryRun
		level := c.LogLevel
		if cl.Quiet || cl.Verbose || cl.Debug {
			cl.Verbose = cl.Verbose || cl.Debug
			level = cl.Level()
		}
		// Standard output belongs to the protocol.
		sink := withWarnings(&recorder{Sink: report.NewText(stderr, name, level), entry: entry}, warnings)
		z := &zeroReceiver{
			receiver: receiver{options: options{repo: at, config: c, output: stderr, ledger: ledger}, sink: sink},
			wire:     newZeroWire(ctx, stdin, stdout, c.Timeout),
		}
		defer z.close()
		err := z.run(ctx)
		return z.totals, err
	})
}

// zeroReceiver is one receive by protocol 0 under way.
type zeroReceiver struct {
	receiver
	wire    *zeroWire
	updates []zeroUpdate
}

// zeroUpdate is what a client wants of a ref. Old is zero if it is to be new.
type zeroUpdate struct {
	ref      ostree.Ref
	old, new ostree.Checksum
}

func (z *zeroReceiver) run(ctx context.Context) error {
	if err := z.loadKeys(); err != nil {
		return err
	}
	target, err := openTarget(z.repo)
	if err != nil {
		return err
	}
	defer target.Close()
	z.target = target

	if err := z.sendInfo(ctx); err != nil {
		return err
	}
	wanted, err := z.receiveUpdate(ctx)
	if err != nil || !wanted {
		return err
	}
	q, err := newQuarantine(target)
	if err != nil {
		return z.refuse(err)
	}
	defer q.remove()
	if err := z.connectKeys(q); err != nil {
		return z.refuse(err)
	}
	if err := z.wire.reply(true, ""); err != nil {
		return err
	}
	if err := z.fill(ctx, q); err != nil {
		return err
	}
	// From here on there is nobody to be told but through the exit status.
	if err := z.verifyUpdates(ctx, q); err != nil {
		return err
	}
	if z.config.DryRun {
		z.reportUpdates(report.New)
		return nil
	}
	return z.importAndSet(ctx, q)
}

// sendInfo says which refs there are, of those that this client may push.
func (z *zeroReceiver) sendInfo(ctx context.Context) error {
	refs, err := z.target.Refs(ctx)
	if err != nil {
		return fmt.Errorf("list refs: %w", err)
	}
	names := map[string]string{}
	for ref, sum := range z.shown(refs) {
		names[string(ref)] = sum.String()
	}
	return z.wire.write(zeroInfo, ostree.Vardict{"mode": z.target.Mode().Number(), "refs": names})
}

// receiveUpdate reads what is to move; wanted is false if there is nothing.
func (z *zeroReceiver) receiveUpdate(ctx context.Context) (wanted bool, err error) {
	command, args, err := z.wire.read()
	if err != nil {
		return false, err
	}
	switch command {
	case zeroDone:
		return false, nil
	case zeroUpdateRefs:
	default:
		return false, fmt.Errorf("the client sends command %d before any update", command)
	}
	refs, err := z.target.Refs(ctx)
	if err != nil {
		return false, fmt.Errorf("list refs: %w", err)
	}
	if z.updates, err = parseUpdates(args); err == nil {
		err = z.checkUpdates(refs)
	}
	if err != nil {
		return false, z.refuse(err)
	}
	return true, nil
}

// refuse tells the client why, waits for its last word, and returns the error.
func (z *zeroReceiver) refuse(err error) error {
	if replyErr := z.wire.reply(false, err.Error()); replyErr != nil {
		return errors.Join(err, replyErr)
	}
	// It may have objects under way, which nobody reads.
	z.wire.read()
	return err
}

// parseUpdates reads an update message, in the order of the refs.
func parseUpdates(args ostree.Vardict) ([]zeroUpdate, error) {
	old, wanted := ostree.Refs{}, ostree.Refs{}
	for name, v := range args {
		ref, err := ostree.ParseRef(name)
		if err != nil {
			return nil, err
		}
		commits, ok := v.([2]string)
		if !ok {
			return nil, fmt.Errorf("ref %s: not a pair of commits", ref)
		}
		if old[ref], err = ostree.ParseChecksum(commits[0]); err != nil {
			return nil, fmt.Errorf("ref %s: %w", ref, err)
		}
		if wanted[ref], err = ostree.ParseChecksum(commits[1]); err != nil {
			return nil, fmt.Errorf("ref %s: %w", ref, err)
		}
		if wanted[ref].IsZero() {
			return nil, fmt.Errorf("ref %s: no new commit", ref)
		}
	}
	var updates []zeroUpdate
	for _, ref := range wanted.Sorted() {
		updates = append(updates, zeroUpdate{ref, old[ref], wanted[ref]})
	}
	return updates, nil
}

// checkUpdates asks the policy, and compares what the client takes for the current
// commits with what they are, which is for no others to know.
func (z *zeroReceiver) checkUpdates(have ostree.Refs) error {
	var names []ostree.Ref
	for _, u := range z.updates {
		if generated(u.ref) {
			return fmt.Errorf("ref %s is generated here", u.ref)
		}
		names = append(names, u.ref)
	}
	if err := z.checkRefs(names); err != nil {
		return err
	}
	vs := verdicts{}
	for _, u := range z.updates {
		current, ok := have[u.ref]
		switch {
		case ok && current != u.old:
			return fmt.Errorf("Branch %s is at %s, not %s", u.ref, current, u.old)
		case !ok && !u.old.IsZero():
			return fmt.Errorf("Invalid from commit %s for new branch %s", u.old, u.ref)
		}
		vs.all = append(vs.all, verdict{
			offer: offer{ref: u.ref, commit: &ostree.Commit{Checksum: u.new}}, status: report.New,
		})
	}
	return z.checkNames(&vs, have)
}

// objectNames are the files of objects in an archive repository.
var objectNames = regexp.MustCompile(`\A[0-9a-f]{64}\.(?:commit|commitmeta|dirtree|dirmeta|filez)\z`)

// fill stores the objects that the client sends in the quarantine, as they are.
func (z *zeroReceiver) fill(ctx context.Context, q *quarantine) error {
	for {
		command, args, err := z.wire.read()
		if err != nil {
			return err
		}
		switch command {
		case zeroDone:
			return nil
		case zeroPutObject:
		default:
			return fmt.Errorf("the client sends command %d among the objects", command)
		}
		if err := z.putObject(ctx, q, args); err != nil {
			return z.refuse(err)
		}
		if err := z.wire.reply(true, ""); err != nil {
			return err
		}
		z.sink.Progress(report.Progress{Phase: "Receiving objects", Done: z.totals.Objects, Bytes: z.totals.Bytes})
	}
}

func (z *zeroReceiver) putObject(ctx context.Context, q *quarantine, args ostree.Vardict) error {
	name, ok := args["object"].(string)
	if !ok || !objectNames.MatchString(name) {
		return fmt.Errorf("%q is no name of an object", name)
	}
	size, ok := args["size"].(uint64)
	if !ok {
		return fmt.Errorf("object %s: no size", name)
	}
	limit := maxSize(name)
	if limit >= 0 && size > uint64(limit) || size > 1<<62 {
		return fmt.Errorf("object %s: %d bytes are too many", name, size)
	}
	if err := q.checkSpaceFor(size); err != nil {
		return err
	}
	if err := z.storeObject(q, name, int64(size)); err != nil {
		return fmt.Errorf("object %s: %w", name, err)
	}
	z.totals.Objects++
	z.totals.Bytes += int64(size)
	return nil
}

// storeObject writes the bytes that follow on the wire into the file that the
// quarantine has for an object.
func (z *zeroReceiver) storeObject(q *quarantine, name string, size int64) (err error) {
	dir := q.dir + "/objects/" + name[:2]
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	// An object that is sent twice is the same, or is found out.
	f, err := os.OpenFile(dir+"/"+name[2:], os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var w io.Writer = f
	if strings.HasSuffix(name, ".filez") && !harmless(size) {
		check := newInflateCheck()
		defer func() { err = errors.Join(check.close(), err) }()
		w = io.MultiWriter(f, check)
	}
	_, err = io.CopyN(w, z.wire, size)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// verifyUpdates checks the new commits' signatures.
func (z *zeroReceiver) verifyUpdates(ctx context.Context, q *quarantine) error {
	for _, u := range z.updates {
		commit, err := q.repo.LoadCommit(u.new)
		if err != nil {
			return fmt.Errorf("ref %s: commit %s: %w", u.ref, u.new, err)
		}
		commit.Close()
		if err := z.verifier.VerifyCommit(ctx, q.repo, u.new); err != nil {
			return fmt.Errorf("ref %s: commit %s: %w", u.ref, u.new, err)
		}
	}
	return nil
}

// importAndSet imports what is in the quarantine, and moves the refs, unless
// somebody else has moved them in the meantime.
func (z *zeroReceiver) importAndSet(ctx context.Context, q *quarantine) error {
	lock, err := lockRepo(ctx, z.target, z.sink)
	if err != nil {
		return err
	}
	defer lock.release()
	have, err := z.target.Refs(ctx)
	if err != nil {
		return fmt.Errorf("list refs: %w", err)
	}
	if err := z.checkUpdates(have); err != nil {
		return err
	}
	vs := &verdicts{}
	for _, u := range z.updates {
		v := verdict{offer: offer{u.ref, &ostree.Commit{Checksum: u.new}}, current: u.old, status: report.Updated, merged: u.new}
		vs.all = append(vs.all, v)
	}
	if err := z.importAndMove(ctx, q, vs.due()); err != nil {
		return err
	}
	z.reportUpdates(report.Updated)
	return z.show(context.WithoutCancel(ctx), refsOf(vs.moved()))
}

// newCommits returns the commits that updates bring: a client sends all between
// the old and the new one.
func (z *zeroReceiver) newCommits(q *quarantine) []ostree.Checksum {
	seen := map[ostree.Checksum]bool{}
	var all []ostree.Checksum
	for _, u := range z.updates {
		for sum := u.new; !sum.IsZero() && !seen[sum] && (sum == u.new || q.has(sum)); {
			seen[sum] = true
			all = append(all, sum)
			commit, err := q.repo.LoadCommit(sum)
			if err != nil {
				break // the import says what is wrong with it
			}
			sum = commit.Parent
			commit.Close()
		}
	}
	return all
}

func (z *zeroReceiver) reportUpdates(status report.Status) {
	for _, u := range z.updates {
		result := report.Ref{Ref: u.ref, Status: status, New: u.new.String(), Received: u.new.String()}
		if u.old.IsZero() {
			result.Status = report.New
		} else {
			result.Old = u.old.String()
		}
		if u.old == u.new {
			result.Status = report.UpToDate
		}
		z.sink.Ref(result)
	}
}
