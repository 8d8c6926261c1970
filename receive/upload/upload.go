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
	pusher  *Pusher
	q       *quarantine.Quarantine
	sink    report.Sink
	joins   *joinListener // nil: no further channels
	offered ostree.Refs   // once Refs has returned
	totals  report.Totals
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

// Refs says what refs show, and takes what the pusher offers.
func (f *Source) Refs(_ context.Context, have ostree.Refs) (ostree.Refs, error) {
	if err := f.sendState(have); err != nil {
		return nil, err
	}
	offered, err := f.readOffer()
	f.offered = offered
	return offered, err
}

// Commits takes the commits that the pusher sends by itself: of what it offers, those that it was not told of.
func (f *Source) Commits(ctx context.Context, _ []ostree.Checksum) error {
	return f.readCommits(ctx)
}

// sendState tells what the refs show, so that the pusher need not list it. What it is not told, it
// lists; so those are left out whose commits are not there, or are known not to be whole.
func (f *Source) sendState(have ostree.Refs) error {
	var states stream.State
	for _, ref := range have.Sorted() {
		if len(states) == stream.MaxRefs {
			break
		}
		commit, err := f.q.Target.LoadCommit(have[ref])
		if err != nil {
			continue // judging says why, where it matters
		}
		if !commit.Partial {
			states = append(states, stream.RefState{
				Ref: ref, Commit: have[ref], Timestamp: commit.Timestamp, Tree: commit.Tree,
			})
		}
		commit.Close()
	}
	return f.pusher.conn.SendAll(states)
}

func (f *Source) readOffer() (ostree.Refs, error) {
	offered := ostree.Refs{}
	for {
		offer, more, err := stream.Next[stream.Offer](f.pusher)
		if err != nil {
			return nil, fmt.Errorf("refs of the pusher: %w", err)
		}
		if !more {
			return offered, nil
		}
		for _, o := range offer {
			offered[o.Ref] = o.Commit
		}
	}
}

// readCommits stores and checks the commits that come, which have to be commits
// of offered refs.
func (f *Source) readCommits(ctx context.Context) error {
	due := map[ostree.Checksum]bool{}
	for _, sum := range f.offered {
		due[sum] = true
	}
	for {
		commit, more, err := stream.Next[stream.Commit](f.pusher)
		if err != nil {
			return fmt.Errorf("commits of the pusher: %w", err)
		}
		if !more {
			return nil
		}
		if !due[commit.Sum] {
			return fmt.Errorf("commit %s: nobody asked for it", commit.Sum)
		}
		delete(due, commit.Sum)
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
	f.totals.Objects += in.arrived
	f.totals.Bytes += in.bytes.Load()
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
