// Package upload takes objects from a pusher, in a stream on standard input (docs/protocol.md), into a quarantine.
package upload

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/dustin/go-humanize"

	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
	"ostree-push/stream"
)

// Source takes objects from a pusher. It is a source of package receive.
type Source struct {
	pusher *Pusher
	q      *quarantine.Quarantine
	sink   report.Sink
	joins  *joinListener // nil: no further channels
	offer  stream.Offer  // once Refs has returned
	totals report.Totals
}

// Open tells a pusher that the receive begins, and how further sessions join it. From then on it is
// not waited for longer than timeout. Whoever opens a Source closes it.
func Open(pusher *Pusher, q *quarantine.Quarantine, timeout time.Duration, sink report.Sink) (*Source, error) {
	pusher.in.SetTimeout(timeout)
	f := &Source{pusher: pusher, q: q, sink: sink}
	if err := f.sendHello(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Close ends the joining of sessions.
func (f *Source) Close() {
	if f.joins != nil {
		f.joins.close()
		f.joins = nil
	}
}

// Totals are the objects and the bytes that have come.
func (f *Source) Totals() report.Totals { return f.totals }

// Refs takes what the pusher offers.
func (f *Source) Refs(context.Context) (ostree.Refs, map[ostree.Ref]ostree.Digest, error) {
	offer, err := f.pusher.offer()
	if err != nil {
		return nil, nil, err
	}
	f.offer = offer
	refs := make(ostree.Refs, len(offer))
	digests := make(map[ostree.Ref]ostree.Digest, len(offer))
	for _, o := range offer {
		if _, twice := refs[o.Ref]; twice {
			return nil, nil, quarantine.Fault(fmt.Errorf("ref %s is offered twice", o.Ref))
		}
		refs[o.Ref], digests[o.Ref] = o.Commit, o.Digest
	}
	return refs, digests, nil
}

// Commits says which of the refs are up to date, and which trees the target has for the others, and takes the commits that the pusher
// sends: it may have sent some before it is told that.
func (f *Source) Commits(ctx context.Context, commits []ostree.Checksum, current ostree.Refs, trees func(ostree.Ref) []ostree.Tree) error {
	if err := f.sendState(current, trees); err != nil {
		return err
	}
	wanted := map[ostree.Checksum]bool{}
	for _, o := range f.offer {
		wanted[o.Commit] = false
	}
	for _, sum := range commits {
		wanted[sum] = true
	}
	return f.readCommits(ctx, wanted)
}

func (f *Source) sendState(current ostree.Refs, trees func(ostree.Ref) []ostree.Tree) error {
	state := make(stream.State, len(f.offer))
	for i, o := range f.offer {
		if shows, is := current[o.Ref]; is {
			state[i] = stream.RefState{UpToDate: true, Shows: shows}
		} else {
			state[i] = stream.RefState{Trees: trees(o.Ref)}
		}
	}
	f.pusher.tells(current)
	return f.pusher.conn.SendAll(state)
}

// readCommits takes the commits that come, each once, which have to be some of those that are offered. It stores and checks those that
// are wanted.
func (f *Source) readCommits(ctx context.Context, wanted map[ostree.Checksum]bool) error {
	for {
		commit, more, err := stream.Next[stream.Commit](f.pusher)
		if err != nil {
			return fmt.Errorf("commits of the pusher: %w", err)
		}
		if !more {
			return nil
		}
		isWanted, isOffered := wanted[commit.Sum]
		if !isOffered {
			return quarantine.Fault(fmt.Errorf("commit %s: nobody asked for it", commit.Sum))
		}
		delete(wanted, commit.Sum)
		if !isWanted {
			continue
		}
		if err := f.storeCommit(ctx, commit); err != nil {
			return fmt.Errorf("commit %s: %w", commit.Sum, err)
		}
		f.count(int64(len(commit.Object) + len(commit.Detached)))
	}
}

func (f *Source) storeCommit(ctx context.Context, commit stream.Commit) error {
	if err := ostree.CheckBytes(ostree.ObjectCommit, commit.Sum, commit.Object); err != nil {
		return err
	}
	if err := f.q.Write(ostree.ObjectName{Type: ostree.ObjectCommit, Sum: commit.Sum}, commit.Object); err != nil {
		return err
	}
	if len(commit.Detached) == 0 {
		return nil
	}
	return f.q.Repo.WriteDetachedMetadata(ctx, commit.Sum, commit.Detached)
}

func (f *Source) count(bytes int64) {
	f.totals.Objects++
	f.totals.Bytes += bytes
}

// Objects says which commits are wanted, which may be none, and takes the objects that they need.
func (f *Source) Objects(ctx context.Context, commits []ostree.Checksum) error {
	if err := f.pusher.conn.SendAll(stream.Wanted(commits)); err != nil || len(commits) == 0 {
		return err
	}
	if err := f.q.MarkResumable(); err != nil {
		return err
	}
	missing, parts, err := f.readList(ctx)
	if err != nil {
		return fmt.Errorf("list of objects: %w", err)
	}
	if err := f.readObjects(ctx, missing, parts); err != nil {
		return fmt.Errorf("receive the objects: %w", err)
	}
	// What is asked for from now on comes on this channel.
	f.Close()
	// libostree has tables of its own when it imports.
	debug.FreeOSMemory()
	return nil
}

// readList reads what the commits consist of, and answers what of it is missing: objects of which there is nothing, and those of
// which there is a part.
func (f *Source) readList(ctx context.Context) (map[ostree.ObjectName]struct{}, []*quarantine.Pieces, error) {
	l := list{left: f.q.Resume(ctx), missing: map[ostree.ObjectName]struct{}{}}
	err := f.readEntries(ctx, &l)
	for _, e := range f.finishResume(l.left) {
		l.answer.Set(e.Index)
		l.missing[e.ObjectName] = struct{}{}
	}
	if err == nil {
		f.sink.Log(report.Debug, fmt.Sprintf("Of %d objects, %d are missing", l.n, len(l.missing)+len(l.parts)))
		err = f.answer(&l)
	}
	if err != nil {
		for _, p := range l.parts {
			p.Leave()
		}
		return nil, nil, err
	}
	return l.missing, l.parts, nil
}

// list is what is known of the objects that a pusher has listed.
type list struct {
	left    *quarantine.Resume
	n       int // listed
	answer  stream.Missing
	missing map[ostree.ObjectName]struct{} // of which there is nothing
	parts   []*quarantine.Pieces           // of which there is a part
}

// answer says what is missing.
func (f *Source) answer(l *list) error {
	if err := f.pusher.conn.SendAll(l.answer); err != nil {
		return err
	}
	var partial stream.Partial
	for _, p := range l.parts {
		written := p.Written()
		f.sink.Log(report.Info, fmt.Sprintf("Resuming an object of an interrupted push, of which %s are here", humanize.IBytes(uint64(written.Len()))))
		partial = append(partial, stream.PartialObject{ObjectName: p.ObjectName, Form: p.Form(), Ranges: written[:min(len(written), stream.MaxRanges)]})
	}
	return f.pusher.conn.SendAll(partial)
}

// finishResume returns what is damaged of what an interrupted push has left.
func (f *Source) finishResume(left *quarantine.Resume) []quarantine.Taken {
	damaged, taken := left.Finish()
	if taken > 0 {
		f.sink.Log(report.Info, fmt.Sprintf("Resuming an interrupted push, of which %d objects are here", taken))
	}
	return damaged
}

func (f *Source) readEntries(ctx context.Context, l *list) error {
	for {
		entries, more, err := stream.Next[stream.List](f.pusher)
		if err != nil || !more {
			return err
		}
		for i := range entries.Len() {
			if err := f.look(ctx, l, entries.At(i)); err != nil {
				return err
			}
		}
	}
}

// spaceInterval is how many missing objects are listed before it is looked whether there would be room for them, so that a
// list does not take more memory than the disk could take objects.
const spaceInterval = 1 << 16

// look looks whether an object that is listed is there.
func (f *Source) look(ctx context.Context, l *list, e ostree.ObjectName) error {
	if _, twice := l.missing[e]; twice {
		return quarantine.Fault(fmt.Errorf("object %s is listed twice", e.Sum))
	}
	has, err := f.q.Target.HasObject(ctx, e.Type, e.Sum)
	if err == nil && !has {
		has, err = l.left.Take(e, l.n)
	}
	if err != nil {
		return err
	}
	l.answer.Add(!has)
	l.n++
	if has {
		return nil
	}
	if len(l.parts) < stream.MaxPartial {
		if p := l.left.TakePieces(e); p != nil {
			l.parts = append(l.parts, p)
			return nil
		}
	}
	l.missing[e] = struct{}{}
	if n := len(l.missing); n%spaceInterval == 0 {
		return f.q.CheckSpaceFor(uint64(n) * blockSize)
	}
	return nil
}

// readObjects takes the objects that are missing, from our own channel and from
// all that join.
func (f *Source) readObjects(ctx context.Context, missing map[ostree.ObjectName]struct{}, parts []*quarantine.Pieces) error {
	in := newIntake(ctx, f.q, f.sink, missing, parts)
	f.pusher.in.SetContext(in.ctx)
	f.pusher.in.Expect()
	in.enter(&f.pusher.channel, func() {})
	if f.joins != nil {
		go f.joins.admit(func(input *os.File, leave func()) error {
			reader := f.pusher.in.Also(in.ctx, input)
			done := func() {
				input.Close()
				leave()
			}
			err := in.enter(&channel{reader, stream.New(stream.Receiver, reader, io.Discard).After(stream.Join{})}, done)
			if err != nil {
				input.Close()
			}
			return err
		})
	}
	err := in.finish()
	f.pusher.in.SetContext(ctx)
	f.sink.Log(report.Debug, fmt.Sprintf("The objects came on %d channels", in.entered))
	arrived := in.meter.Now()
	f.totals.Objects += arrived.Done
	f.totals.Bytes += arrived.Bytes
	return err
}

// Fetch asks the pusher for objects, but for those that an interrupted push has left, and takes them.
func (f *Source) Fetch(ctx context.Context, missing []ostree.ObjectName) error {
	left := f.q.Resume(ctx)
	var ask stream.Ask
	for i, e := range missing {
		has, err := left.Take(e, i)
		if err != nil {
			f.finishResume(left)
			return err
		}
		if !has {
			ask = append(ask, e)
		}
	}
	for _, e := range f.finishResume(left) {
		ask = append(ask, e.ObjectName)
	}
	if len(ask) == 0 {
		return nil
	}
	if err := f.pusher.conn.SendAll(ask); err != nil {
		return err
	}
	due := make(map[ostree.ObjectName]struct{}, len(ask))
	for _, e := range ask {
		due[e] = struct{}{}
	}
	if err := f.readObjects(ctx, due, nil); err != nil {
		return fmt.Errorf("receive the objects: %w", err)
	}
	return nil
}
