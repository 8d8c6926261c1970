package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/internal/patience"
	"ostree-push/ostree"
	"ostree-push/report"
	"ostree-push/stream"
)

// streamPush is the pusher's end of the stream (docs/protocol.md).
type streamPush struct {
	remote *remote
	src    *source
	sink   report.Listener

	upToDate *upToDate // of sink; set by run

	// open opens a further session, and has do talk to its receiver.
	open     func(ctx context.Context, do talker) error
	channels *int // at most, the first one included; nil: as the round trip asks for

	conn     *stream.Conn
	messages chan stream.Message // from the receiver, other than events
	broken   error               // why messages was closed

	secret    string        // with which further channels join; "": they cannot
	roundTrip time.Duration // no more than this

	noise   []byte      // what came before the greeting, or instead of it
	allSent atomic.Bool // that the receiver has asked for; it may move refs by now
	anySent atomic.Bool // objects have been sent

	buffers sync.Pool // of *[pieceSize]byte

	live     bool                     // somebody looks how far it is
	expected atomic.Pointer[expected] // of what is being sent; nil: nothing is known

	mu   sync.Mutex
	sent report.Totals
}

func newStreamPush(r *remote, cl commandLine) transport {
	return &streamPush{remote: r, src: r.src, sink: r.said, channels: cl.Channels, live: r.text.Live()}
}

// fewRefs is how many refs are few: their commits are sent before the receiver has said which ones it has a use for.
const fewRefs = 16

// errNoStream says that the receiver does not greet.
var errNoStream = errors.New("the receiver does not know the stream")

// try runs a command that is to use the stream.
func (s *streamPush) try(ctx context.Context, command []string) (o outcome, err error) {
	r, hold := s.remote, &holder{}
	s.open = func(ctx context.Context, do talker) error {
		return r.conn.talk(ctx, command, []string{r.dest.repo, stream.JoinURL}, r.debugWriter(), do)
	}
	r.silence.expects.Store(true) // a greeting, or that it does not know one
	defer r.silence.expects.Store(false)
	stderr := newRemoteErrors(hold.writer(r.text), r.debugWriter())
	var talked error
	err = r.conn.talk(ctx, command, r.args(stream.URL), stderr, func(ctx context.Context, stdin io.WriteCloser, stdout io.Reader) {
		talked = s.run(ctx, stdin, r.silence.reader(stdout), hold.release)
		// What comes after a mistake is of no use, but a receiver that has more to say does not end before somebody
		// has read it. One that never ends counts as silent.
		io.Copy(io.Discard, stdout)
	})
	o = outcome{hold: hold, greeting: greeted, noise: s.noise}
	if errors.Is(talked, errNoStream) {
		o.greeting, talked = notGreeted, nil
	}
	o.said, o.crash = stderr.end()
	err = o.ended(err)
	if o.greeting == notGreeted && len(o.said) == 0 {
		tail := report.NewTail()
		tail.Write(o.noise)
		o.said = tail.Lines()
	}
	if err == nil && !fromEnd(talked) {
		err = talked
	}
	return o, err
}

// fromEnd reports whether err is what one meets when the receiver has ended, which has said why.
func fromEnd(err error) bool {
	for _, met := range []error{stream.ErrEnded, unix.EPIPE, os.ErrClosed, context.Canceled} {
		if errors.Is(err, met) {
			return true
		}
	}
	return false
}

// mayMove reports whether the receiver has all that it has asked for.
func (s *streamPush) mayMove() bool { return s.allSent.Load() }

// resumable reports whether any object has been sent, which the receiver keeps.
func (s *streamPush) resumable() bool { return s.anySent.Load() }

func (s *streamPush) close() {}

func (s *streamPush) totals() report.Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// run talks to a receiver, until it has nothing more to say. greeted is called
// when it turns out to know the stream; otherwise the error is errNoStream.
func (s *streamPush) run(ctx context.Context, stdin io.WriteCloser, stdout io.Reader, greeted func()) error {
	defer stdin.Close()
	s.conn = stream.New(stream.Pusher, stdout, stdin)
	var ok bool
	if ok, s.noise = s.conn.Greeted(); !ok {
		stdin.Close()
		io.Copy(io.Discard, stdout)
		return errNoStream
	}
	if len(s.noise) > 0 {
		s.sink.Log(report.Debug, fmt.Sprintf("Before the greeting, the server printed %q", s.noise))
	}
	greeted()
	s.messages = make(chan stream.Message, 16)
	s.upToDate = &upToDate{Listener: s.sink}
	go s.listen()
	defer s.keepAlive()()
	err := s.push(ctx)
	// What the receiver says of how it ended explains more than a broken pipe.
	stdin.Close()
	for range s.messages {
	}
	if s.broken != nil {
		return s.broken
	}
	return err
}

// busyInterval is how long a receiver hears nothing of us, at most. The shortest timeout that one can have is a second.
const busyInterval = 400 * time.Millisecond

// keepAlive tells the receiver that we are at work, when we send nothing else, until the function that it returns is called.
func (s *streamPush) keepAlive() (stop func()) {
	// What was sent may have been sent just after the last time.
	return patience.Every(busyInterval/2, func() {
		s.conn.KeepAlive(stream.Busy{}) // should it fail, so does what follows
	})
}

// listen reads what the receiver sends, and hands events on at once.
func (s *streamPush) listen() {
	defer close(s.messages)
	for {
		m, err := s.conn.Read()
		if err != nil {
			if !errors.Is(err, stream.ErrEnded) {
				s.broken = &answerError{err}
			}
			return
		}
		switch m := m.(type) {
		case stream.Event:
			report.Decode(m, arrivals{s.upToDate, s})
		case stream.Result:
			s.sink.Ended(report.Ended(m))
		default:
			if _, asks := m.(stream.Ask); asks {
				s.allSent.Store(false) // it lacks something
				s.expected.Store(nil)
			}
			s.messages <- m
		}
	}
}

// endObjects says that all objects have been sent that were asked for.
func (s *streamPush) endObjects() error {
	s.allSent.Store(true)
	return s.conn.End(stream.Data{})
}

// Read returns the next message other than an event.
func (s *streamPush) Read() (stream.Message, error) {
	m, ok := <-s.messages
	switch {
	case ok:
		return m, nil
	case s.broken != nil: // since before the channel was closed
		return nil, s.broken
	}
	return nil, stream.ErrEnded
}

// answerError is what is wrong with what the receiver sends.
type answerError struct{ error }

func (e *answerError) Error() string { return "what the receiver sends: " + e.error.Error() }
func (e *answerError) Unwrap() error { return e.error }

// push is the course of a push. If we give up, the receiver is told why.
func (s *streamPush) push(ctx context.Context) error {
	err := s.course(ctx)
	var protocol *stream.ProtocolError
	if errors.As(err, &protocol) && !errors.As(err, new(*answerError)) {
		err = &answerError{err}
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, stream.ErrEnded) && !errors.Is(err, unix.EPIPE) {
		s.conn.Send(stream.Failure{Reason: err.Error()})
	}
	return err
}

func (s *streamPush) course(ctx context.Context) error {
	offer := s.offer()
	if err := s.conn.SendAll(offer); err != nil {
		return err
	}
	hello, _, err := stream.Next[stream.Hello](s) // which does not wait for the offer
	if err != nil {
		return err
	}
	s.secret = hello.Join
	few := len(offer) <= fewRefs
	asked := time.Now()
	if few { // that costs less than to wait for an answer
		if err := s.sendCommits(ctx, offer); err != nil {
			return err
		}
	}
	state, err := s.readState(ctx, offer)
	if err != nil {
		return err
	}
	if !few {
		asked = time.Now()
		if err := s.sendCommits(ctx, state.due); err != nil {
			return err
		}
	}
	wanted, err := readAll[stream.Wanted](s)
	s.roundTrip = time.Since(asked)
	if err != nil {
		return err
	}
	if len(wanted) == 0 { // nothing is to move, and there may be no other result
		s.upToDate.say()
		return nil
	}
	list, err := s.list(ctx, wanted, state.bases)
	if err != nil {
		return err
	}
	asked = time.Now()
	missing, err := stream.ReadMissing(s, list.len())
	if err != nil {
		return err
	}
	parts, err := readAll[stream.Partial](s)
	if err != nil {
		return err
	}
	s.roundTrip = min(s.roundTrip, time.Since(asked))
	if err := newSender(ctx, s, list, missing, parts).run(); err != nil {
		return err
	}
	return s.answer(ctx, wanted)
}

// answer sends what the receiver asks for, as long as it does: it looks itself for what is
// missing, since it may have less than it seems to have.
func (s *streamPush) answer(ctx context.Context, wanted []ostree.Checksum) error {
	var may map[seenKey]struct{} // be asked for
	for {
		asked, err := s.readAsked()
		if err != nil || len(asked) == 0 {
			return err
		}
		if may == nil {
			if may, err = s.objectsOf(ctx, wanted); err != nil {
				return err
			}
		}
		if err := s.sendAsked(ctx, asked, may); err != nil {
			return err
		}
	}
}

// sendAsked sends objects that the receiver asks for, and that it may.
func (s *streamPush) sendAsked(ctx context.Context, asked stream.Ask, may map[seenKey]struct{}) error {
	defer s.expect(ctx, slices.Values(asked), nil)()
	for _, e := range asked {
		if _, ok := may[keyOf(e)]; !ok {
			return fmt.Errorf("the receiver asks for object %s, which is in no commit that is pushed", e)
		}
		if err := s.sendObject(ctx, s.conn, e); err != nil {
			return err
		}
	}
	return s.endObjects()
}

// readAsked reads what the receiver asks for; nothing, when it has all that it needs.
func (s *streamPush) readAsked() (stream.Ask, error) {
	asked, err := readAll[stream.Ask](s)
	if errors.Is(err, stream.ErrEnded) {
		return nil, nil
	}
	return asked, err
}

// readAll reads a series of messages to its end.
func readAll[M interface {
	stream.Message
	~[]E
}, E any](r stream.Reader) (all M, err error) {
	for {
		m, more, err := stream.Next[M](r)
		if err != nil || !more {
			return all, err
		}
		all = append(all, m...)
	}
}

// offer returns the refs that are pushed.
func (s *streamPush) offer() stream.Offer {
	var offer stream.Offer
	for _, ref := range s.src.refs.Sorted() {
		sum := s.src.refs[ref]
		offer = append(offer, stream.RefOffer{Ref: ref, Commit: sum, Digest: s.src.digests[sum]})
	}
	return offer
}

// sendCommits sends the commits of offered refs, each once.
func (s *streamPush) sendCommits(ctx context.Context, offer stream.Offer) error {
	sent := map[ostree.Checksum]bool{}
	for _, o := range offer {
		if sent[o.Commit] {
			continue
		}
		sent[o.Commit] = true
		if err := s.sendCommit(ctx, o.Commit); err != nil {
			return fmt.Errorf("local repository: commit %s: %w", o.Commit, err)
		}
	}
	return s.conn.End(stream.Commit{})
}

func (s *streamPush) sendCommit(ctx context.Context, sum ostree.Checksum) error {
	object, err := s.src.repo.CommitObject(sum)
	if err != nil {
		return err
	}
	detached, err := s.src.repo.DetachedMetadata(ctx, sum)
	if err != nil {
		return err
	}
	if err := s.conn.Queue(stream.Commit{Sum: sum, Object: object, Detached: detached}); err != nil {
		return err
	}
	s.count(int64(len(object) + len(detached)))
	return nil
}

func (s *streamPush) count(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent.Objects++
	s.sent.Bytes += bytes
}
