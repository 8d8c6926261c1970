package receive

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
	"ostree-push/stream"
)

// This file is the other way to fill a quarantine: the pusher sends what is
// missing, in one stream on standard input (docs/protocol.md).

// streamFiller fills a quarantine from a stream.
type streamFiller struct {
	r    *receiver
	in   *stallReader
	conn *stream.Conn
	door *door // nil: no further channels
}

// read reads a frame of that kind, for which the pusher has the time of the
// configured timeout.
func (f *streamFiller) read(kind stream.Kind) ([]byte, error) {
	f.in.expect()
	return f.conn.ReadKind(kind)
}

// withStream greets the pusher, has receive receive, and tells the pusher how it
// ended.
func withStream(ctx context.Context, stdin *os.File, stdout io.Writer, receive func(*streamFiller) (report.Ended, error)) error {
	const timeout = time.Minute // until the configuration says
	in := newStallReader(ctx, stdin, timeout)
	f := &streamFiller{in: in, conn: stream.New(in, stdout)}
	if err := f.conn.Greet(); err != nil {
		return fmt.Errorf("greet the pusher: %w", err)
	}
	end, err := receive(f)
	payload, jsonErr := json.Marshal(end)
	if jsonErr == nil && f.conn.Write(stream.Result, payload) == nil {
		return asTold(err)
	}
	return err
}

// eventFrames is what a Sink of events writes to: each line is a frame.
type eventFrames struct{ conn *stream.Conn }

func (e eventFrames) Write(line []byte) (int, error) {
	return len(line), e.conn.Write(stream.Event, line)
}

func (f *streamFiller) start(ctx context.Context, q *quarantine.Quarantine) error {
	if err := f.r.connectKeys(q); err != nil {
		return err
	}
	return f.sendHello(q)
}

// fillCommits says which refs there are, and takes those that are offered and
// their commits.
func (f *streamFiller) fillCommits(ctx context.Context, q *quarantine.Quarantine) (*offers, error) {
	have, err := f.r.target.Refs(ctx)
	if err != nil {
		return nil, fmt.Errorf("list refs: %w", err)
	}
	if err := f.sendState(f.r.shown(have)); err != nil {
		return nil, err
	}
	source, err := f.readOffer()
	if err != nil {
		return nil, err
	}
	if err := f.readCommits(ctx, q, source); err != nil {
		return nil, err
	}
	wanted, current, err := f.r.wantedOf(ctx, source)
	if err != nil {
		return nil, err
	}
	return loadOffers(q, wanted, current)
}

// sendState tells what the refs show, so that the pusher need not list it. What it is not told, it
// lists; so those are left out whose commits are not there, or are known not to be whole.
func (f *streamFiller) sendState(have ostree.Refs) error {
	var states []stream.RefState
	for _, ref := range have.Sorted() {
		if len(states) == stream.MaxRefs {
			break
		}
		commit, err := f.r.target.LoadCommit(have[ref])
		if err != nil {
			continue // judging says why, where it matters
		}
		if !commit.Partial {
			states = append(states, stream.RefState{
				Ref: string(ref), Commit: have[ref].String(), Timestamp: commit.Timestamp,
				Tree: [2]string{commit.Tree.Contents.String(), commit.Tree.Meta.String()},
			})
		}
		commit.Close()
	}
	return stream.WriteRefs(f.conn, stream.State, states)
}

func (f *streamFiller) readOffer() (ostree.Refs, error) {
	offered, err := stream.ReadRefs[stream.RefOffer](func() ([]byte, error) { return f.read(stream.Offer) })
	if err != nil {
		return nil, fmt.Errorf("refs of the pusher: %w", err)
	}
	source := ostree.Refs{}
	for _, o := range offered {
		ref, err := ostree.ParseRef(o.Ref)
		if err != nil {
			return nil, quarantine.Fault(fmt.Errorf("refs of the pusher: %w", err))
		}
		if source[ref], err = ostree.ParseChecksum(o.Commit); err != nil {
			return nil, quarantine.Fault(fmt.Errorf("refs of the pusher: ref %s: %w", ref, err))
		}
	}
	return source, nil
}

// readCommits stores and checks the commits that come, which have to be commits
// of offered refs.
func (f *streamFiller) readCommits(ctx context.Context, q *quarantine.Quarantine, source ostree.Refs) error {
	due := map[ostree.Checksum]bool{}
	for _, sum := range source {
		due[sum] = true
	}
	for {
		payload, err := f.read(stream.Commit)
		if err != nil {
			return fmt.Errorf("commits of the pusher: %w", err)
		}
		if len(payload) == 0 {
			return nil
		}
		sum, object, detached, err := stream.ParseCommit(payload)
		if err != nil {
			return err
		}
		if !due[sum] {
			return fmt.Errorf("commit %s: nobody asked for it", sum)
		}
		delete(due, sum)
		if len(object) > ostree.MaxMetadataSize || len(detached) > ostree.MaxMetadataSize {
			return fmt.Errorf("commit %s is too large", sum)
		}
		if err := f.storeCommit(ctx, q, sum, object, detached); err != nil {
			return fmt.Errorf("commit %s: %w", sum, err)
		}
		f.count(int64(len(object) + len(detached)))
	}
}

func (f *streamFiller) storeCommit(ctx context.Context, q *quarantine.Quarantine, sum ostree.Checksum, object, detached []byte) error {
	if err := ostree.CheckBytes(ostree.ObjectCommit, sum, object); err != nil {
		return err
	}
	if err := q.Write(stream.Entry{Type: ostree.ObjectCommit, Sum: sum}, object); err != nil {
		return err
	}
	if len(detached) == 0 {
		return nil
	}
	return q.Repo.WriteDetachedMetadata(ctx, sum, detached)
}

func (f *streamFiller) count(bytes int64) {
	f.r.totals.Objects++
	f.r.totals.Bytes += bytes
}

// fillContent says which commits are wanted, which may be none, and takes the
// objects that they need.
func (f *streamFiller) fillContent(ctx context.Context, q *quarantine.Quarantine, accepted []verdict) error {
	if err := f.conn.WriteSums(stream.Wanted, checksums(accepted)); err != nil || len(accepted) == 0 {
		return err
	}
	if err := q.MarkResumable(); err != nil {
		return err
	}
	missing, err := f.readList(ctx, q)
	if err != nil {
		return fmt.Errorf("list of objects: %w", err)
	}
	if err := f.readObjects(ctx, q, missing); err != nil {
		return fmt.Errorf("receive the objects: %w", err)
	}
	// What is asked for from now on comes on this channel.
	if f.door != nil {
		f.door.close()
		f.door = nil
	}
	// libostree has tables of its own when it imports.
	debug.FreeOSMemory()
	return nil
}

// readList reads what the commits consist of, and answers what of it is missing.
func (f *streamFiller) readList(ctx context.Context, q *quarantine.Quarantine) (map[stream.Entry]struct{}, error) {
	var answer stream.Bitmap
	missing := map[stream.Entry]struct{}{}
	left := q.Resume(ctx)
	n, err := f.readEntries(ctx, left, &answer, missing)
	for _, e := range f.finishResume(left) {
		answer.Set(e.Index)
		missing[e.Entry] = struct{}{}
	}
	if err != nil {
		return nil, err
	}
	f.r.sink.Log(report.Debug, fmt.Sprintf("Of %d objects, %d are missing", n, len(missing)))
	return missing, f.conn.WriteBitmap(&answer)
}

// finishResume returns what is damaged of what an interrupted push has left.
func (f *streamFiller) finishResume(left *quarantine.Resume) []quarantine.Taken {
	damaged, taken := left.Finish()
	if taken > 0 {
		f.r.sink.Log(report.Info, fmt.Sprintf("Resuming an interrupted push, of which %d objects are here", taken))
	}
	return damaged
}

func (f *streamFiller) readEntries(ctx context.Context, left *quarantine.Resume, answer *stream.Bitmap, missing map[stream.Entry]struct{}) (n int, err error) {
	for {
		payload, err := f.read(stream.List)
		if err != nil || len(payload) == 0 {
			return n, err
		}
		entries, err := stream.ParseList(payload)
		if err != nil {
			return n, err
		}
		if n+len(entries) > stream.MaxObjects {
			return n, quarantine.Fault(fmt.Errorf("more than %d objects", stream.MaxObjects))
		}
		for _, e := range entries {
			if _, twice := missing[e]; twice {
				return n, quarantine.Fault(fmt.Errorf("object %s is listed twice", e.Sum))
			}
			has, err := f.r.target.HasObject(ctx, e.Type, e.Sum)
			if err == nil && !has {
				has, err = left.Take(e, n)
			}
			if err != nil {
				return n, err
			}
			if answer.Add(!has); !has {
				missing[e] = struct{}{}
			}
			n++
		}
	}
}

// readObjects takes the objects that are missing, from our own channel and from
// all that join.
func (f *streamFiller) readObjects(ctx context.Context, q *quarantine.Quarantine, missing map[stream.Entry]struct{}) error {
	in := newIntake(ctx, q, f.r.sink, missing)
	f.in.ctx = in.ctx
	f.in.expect()
	in.enter(f.conn, func() {})
	if f.door != nil {
		go f.door.admit(func(input *os.File, leave func()) error {
			reader := newStallReader(in.ctx, input, f.in.timeout)
			reader.milestones = f.in.milestones
			done := func() {
				input.Close()
				leave()
			}
			err := in.enter(stream.New(reader, io.Discard), done)
			if err != nil {
				input.Close()
			}
			return err
		})
	}
	err := in.finish()
	f.in.ctx = ctx
	f.r.sink.Log(report.Debug, fmt.Sprintf("The objects came on %d channels", in.entered))
	f.r.totals.Objects += in.total - len(missing)
	f.r.totals.Bytes += in.bytes.Load()
	return err
}

// fetch asks the pusher for objects, but for those that an interrupted push has left, and takes them.
func (f *streamFiller) fetch(ctx context.Context, q *quarantine.Quarantine, missing []stream.Entry) error {
	left := q.Resume(ctx)
	var ask []stream.Entry
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
		ask = append(ask, e.Entry)
	}
	if len(ask) == 0 {
		return nil
	}
	if err := f.conn.WriteEntries(stream.Ask, ask); err != nil {
		return err
	}
	due := make(map[stream.Entry]struct{}, len(ask))
	for _, e := range ask {
		due[e] = struct{}{}
	}
	if err := f.readObjects(ctx, q, due); err != nil {
		return fmt.Errorf("receive the objects: %w", err)
	}
	return nil
}

func (f *streamFiller) close() {
	if f.door != nil {
		f.door.close()
	}
}
