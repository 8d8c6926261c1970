package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"ostree-push/cli"
	"ostree-push/ostree"
	"ostree-push/receive/audit"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
)

// This file is the receiving end of protocol 0, which clients older than 0.1.1
// speak: they say which refs are to move, and send objects that nobody asked
// for. Its messages are in proto0wire.go.

// proto0Line is the grammar of protocol 0's command line.
type proto0Line struct {
	Repo  string `required:"" pusher:"" help:"Repository to receive into." placeholder:"PATH"`
	Debug bool   `pusher:"" help:"As --verbose."`

	cli.Common
}

const proto0Examples = `
  Receive from such a client, which runs it on the server:
    ostree-receive-0 --repo=/srv/repo
`

// speaksProto0 reports whether a program called name with args speaks protocol 0.
func speaksProto0(name string, args []string) bool {
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

// run receives from a client of protocol 0 on standard input and output.
func (cl *proto0Line) run(ctx context.Context, p process) (err error) {
	entry := audit.NewEntry()
	entry.Repository, entry.Transport = cl.Repo, "protocol-0"
	s, err := p.begin(entry, nil)
	if err != nil {
		return err
	}
	defer func() { err = s.end(ctx, err, recover()) }()
	entry.DryRun = s.config.DryRun
	cl.Verbose = cl.Verbose || cl.Debug
	// Standard output belongs to the protocol.
	sink := s.record(report.NewText(p.stderr, p.name, textLevel(cl.Common, s.config)))
	r, err := s.open(sink, p.stderr)
	if err != nil {
		return err
	}
	defer r.close()
	z := &proto0Receiver{receiver: r, wire: newProto0Wire(ctx, p.stdin, p.stdout, s.config.Timeout)}
	err = z.run(ctx)
	entry.Bytes = z.totals.Bytes
	return err
}

// proto0Receiver is one receive by protocol 0 under way.
type proto0Receiver struct {
	*receiver
	wire     *proto0Wire
	updates  []proto0Update
	offered  *offers   // nil: not all of the new commits are there
	verdicts *verdicts // of what is offered
	totals   report.Totals
}

// proto0Update is what a client wants of a ref. Old is zero if it is to be new.
type proto0Update struct {
	ref      ostree.Ref
	old, new ostree.Checksum
}

func (z *proto0Receiver) run(ctx context.Context) (err error) {
	if err := z.sendInfo(ctx); err != nil {
		return err
	}
	wanted, err := z.receiveUpdate(ctx)
	if err != nil {
		return err
	}
	if !wanted {
		return z.catchUpAlone(ctx)
	}
	q, err := quarantine.New(z.target)
	if err != nil {
		return z.refuse(err)
	}
	defer q.Remove()
	defer func() { err = q.HintOnSpace(err) }()
	defer func() { z.offered.close() }()
	if err := z.judgeArrived(ctx, q); err != nil {
		return z.refuse(err)
	}
	if err := z.wire.reply(true, ""); err != nil {
		return err
	}
	if err := z.fill(ctx, q); err != nil {
		return err
	}
	// From here on there is nobody to be told but through the exit status.
	if err := z.judgeUpdates(ctx, q); err != nil {
		return err
	}
	if err := z.verify(ctx, q, z.offered); err != nil {
		return err
	}
	if z.config.DryRun || len(z.verdicts.accepted()) == 0 {
		z.verdicts.report(z.sink)
		return z.catchUpAlone(ctx)
	}
	return z.publishUpdates(ctx, q)
}

// sendInfo says which refs there are, of those that this client may push. A client that
// is not served is shown none, so that it does not take itself for up to date.
func (z *proto0Receiver) sendInfo(ctx context.Context) error {
	refs, err := z.target.Refs(ctx)
	if err != nil {
		return fmt.Errorf("list refs: %w", err)
	}
	if !z.config.Protocol0 {
		refs = nil
	}
	names := map[string]string{}
	for ref, sum := range z.visible(refs) {
		names[string(ref)] = sum.String()
	}
	return z.wire.write(proto0Info, ostree.Vardict{"mode": z.target.Mode().Number(), "refs": names})
}

// receiveUpdate reads what is to move; wanted is false if there is nothing.
func (z *proto0Receiver) receiveUpdate(ctx context.Context) (wanted bool, err error) {
	command, args, err := z.wire.read()
	if err != nil {
		return false, err
	}
	switch command {
	case proto0Done:
		return false, nil
	case proto0UpdateRefs:
	default:
		return false, fmt.Errorf("the client sends command %d before any update", command)
	}
	if !z.config.Protocol0 {
		return false, z.refuse(cli.Hint(errors.New("clients of protocol 0 are not served here"),
			"use a newer ostree-push; protocol_0 in the server's configuration allows old ones"))
	}
	if z.updates, err = parseUpdates(args); err == nil {
		err = z.checkUpdates(ctx)
	}
	if err != nil {
		return false, z.refuse(err)
	}
	return true, nil
}

// refuse tells the client why, waits for its last word, and returns the error.
func (z *proto0Receiver) refuse(err error) error {
	if replyErr := z.wire.reply(false, err.Error()); replyErr != nil {
		return errors.Join(err, replyErr)
	}
	// It may have objects under way, which nobody reads.
	z.wire.read()
	return err
}

// parseUpdates reads an update message, in the order of the refs.
func parseUpdates(args ostree.Vardict) ([]proto0Update, error) {
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
	var updates []proto0Update
	for _, ref := range wanted.Sorted() {
		updates = append(updates, proto0Update{ref, old[ref], wanted[ref]})
	}
	return updates, nil
}

// checkUpdates asks the policy, and compares what the client takes for the current
// commits with what they are, which is for no others to know.
func (z *proto0Receiver) checkUpdates(ctx context.Context) error {
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
	have, err := z.target.ReadRefs(ctx, names)
	if err != nil {
		return fmt.Errorf("read refs: %w", err)
	}
	vs := verdicts{}
	for _, u := range z.updates {
		current, ok := have.Refs[u.ref]
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
	return z.checkNames(ctx, &vs)
}

// judgeArrived judges as soon as all new commits are there, when the client can still be told.
// (Their signatures may come later.)
func (z *proto0Receiver) judgeArrived(ctx context.Context, q *quarantine.Quarantine) error {
	if z.offered != nil {
		return nil
	}
	for _, u := range z.updates {
		has, err := q.Repo.HasObject(ctx, ostree.ObjectCommit, u.new)
		if err != nil || !has {
			return err
		}
	}
	return z.judgeUpdates(ctx, q)
}

// judgeUpdates judges the new commits as those that come in other ways. A client of this
// protocol moves all of its refs or none, so one that is not to move is an error.
func (z *proto0Receiver) judgeUpdates(ctx context.Context, q *quarantine.Quarantine) (err error) {
	if z.offered == nil {
		if z.offered, err = z.loadUpdates(q); err != nil {
			return err
		}
	}
	z.verdicts, err = z.judge(ctx, z.offered, func(verdict) {})
	return err
}

// loadUpdates reads the new commits, which have to be bound to their refs.
func (z *proto0Receiver) loadUpdates(q *quarantine.Quarantine) (*offers, error) {
	wanted := ostree.Refs{}
	for _, u := range z.updates {
		wanted[u.ref] = u.new
	}
	offered, err := loadOffers(q, wanted, nil)
	if err != nil {
		return nil, err
	}
	offered.keep, offered.atomic = true, true
	for i, o := range offered.offers {
		// What was compared when the update came has to be so when the ref moves.
		offered.offers[i].lease = &z.updates[i].old
		err := z.checkPromotion(o)
		if err == nil {
			err = checkTakenAsIs(o)
		}
		if err != nil {
			offered.close()
			return nil, err
		}
	}
	return offered, nil
}

// checkTakenAsIs returns an error if a commit is bound to other refs. In other ways it would be bound
// anew; but as it is, clients would refuse it.
func checkTakenAsIs(o offer) error {
	if _, bound := o.commit.MetaStrings(ostree.MetaRefBinding); !bound {
		return nil
	}
	return cli.Hint(checkBinding(o),
		"commit it on that ref, or for it as well (ostree commit --bind-ref=%s); a newer ostree-push has the server bind it anew", o.ref)
}

// objectNames are the files of objects in an archive repository.
var objectNames = regexp.MustCompile(`\A[0-9a-f]{64}\.(?:commit|commitmeta|dirtree|dirmeta|filez)\z`)

// fill stores the objects that the client sends in the quarantine, as they are.
func (z *proto0Receiver) fill(ctx context.Context, q *quarantine.Quarantine) error {
	for {
		command, args, err := z.wire.read()
		if err != nil {
			return err
		}
		switch command {
		case proto0Done:
			return nil
		case proto0PutObject:
		default:
			return fmt.Errorf("the client sends command %d among the objects", command)
		}
		err = z.putObject(ctx, q, args)
		if err == nil && strings.HasSuffix(args["object"].(string), ".commit") {
			err = z.judgeArrived(ctx, q)
		}
		if err != nil {
			return z.refuse(err)
		}
		if err := z.wire.reply(true, ""); err != nil {
			return err
		}
		z.sink.Progress(report.Progress{Phase: report.Receiving, Done: z.totals.Objects, Bytes: z.totals.Bytes})
	}
}

func (z *proto0Receiver) putObject(ctx context.Context, q *quarantine.Quarantine, args ostree.Vardict) error {
	name, ok := args["object"].(string)
	if !ok || !objectNames.MatchString(name) {
		return fmt.Errorf("%q is no name of an object", name)
	}
	size, ok := args["size"].(uint64)
	if !ok {
		return fmt.Errorf("object %s: no size", name)
	}
	limit := quarantine.MaxSize(name)
	if limit >= 0 && size > uint64(limit) || size > 1<<62 {
		return fmt.Errorf("object %s: %d bytes are too many", name, size)
	}
	if err := q.CheckSpaceFor(size); err != nil {
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
func (z *proto0Receiver) storeObject(q *quarantine.Quarantine, name string, size int64) (err error) {
	// An object that is sent twice is the same, or is found out.
	f, err := q.Replace(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var w io.Writer = f
	if strings.HasSuffix(name, ".filez") && !quarantine.Harmless(size) {
		check := quarantine.NewInflateCheck()
		defer func() { err = errors.Join(check.Close(), err) }()
		w = io.MultiWriter(f, check)
	}
	_, err = io.CopyN(w, z.wire, size)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// publishUpdates imports what is in the quarantine, and moves the refs, unless
// somebody else has moved them in the meantime.
func (z *proto0Receiver) publishUpdates(ctx context.Context, q *quarantine.Quarantine) error {
	if err := q.Check(ctx); err != nil {
		return err
	}
	for i := range z.offered.offers {
		o := &z.offered.offers[i]
		o.ancestors = z.newAncestors(q, o.commit)
	}
	for i := range z.verdicts.all {
		z.verdicts.all[i].offer = z.offered.offers[i]
	}
	if err := z.complete(ctx, q, z, commitsOf(z.verdicts.due())); err != nil {
		return err
	}
	return z.publish(ctx, q, z, z.offered, z.verdicts)
}

// Fetch is for objects that are missing. A client of this protocol cannot be asked for them.
func (z *proto0Receiver) Fetch(_ context.Context, objects []ostree.ObjectName) error {
	return quarantine.Fault(fmt.Errorf("object %s has not been sent", objects[0].String()))
}

// newAncestors returns the ancestors of a commit that have come with it: a client sends all between
// the old and the new one.
func (z *proto0Receiver) newAncestors(q *quarantine.Quarantine, commit *ostree.Commit) []ostree.Checksum {
	var ancestors []ostree.Checksum
	seen := map[ostree.Checksum]bool{}
	for sum := commit.Parent; !sum.IsZero() && !seen[sum] && q.Has(ostree.ObjectName{Type: ostree.ObjectCommit, Sum: sum}); {
		seen[sum] = true
		ancestors = append(ancestors, sum)
		parent, err := q.Repo.LoadCommit(sum)
		if err != nil {
			break // whoever walks it says what is wrong with it
		}
		sum = parent.Parent
		parent.Close()
	}
	return ancestors
}
