package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/ostree"
	"ostree-push/report"
	"ostree-push/stream"
)

// streamPush is the pusher's end of the stream (docs/protocol.md).
type streamPush struct {
	src   *source
	named []string // refs; none: all
	sink  report.Listener

	// open opens a further session, and has do talk to its receiver.
	open     func(ctx context.Context, do talker) error
	channels *int // at most, the first one included; nil: as the round trip asks for

	conn     *stream.Conn
	messages chan stream.Message // from the receiver, other than events
	broken   error               // why messages was closed

	secret    string        // with which further channels join; "": they cannot
	roundTrip time.Duration // no more than this

	noise []byte // what came before the greeting, or instead of it
	// mayMove is that the receiver has all that it has asked for, and may move refs.
	mayMove atomic.Bool
	// resumable is that objects have been sent, which the receiver keeps if the connection is lost.
	resumable atomic.Bool

	mu     sync.Mutex
	totals report.Totals
}

// errNoStream is that the receiver does not greet.
var errNoStream = errors.New("the receiver does not know the stream")

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
	go s.listen()
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

// listen reads what the receiver sends, and hands events on at once.
func (s *streamPush) listen() {
	defer close(s.messages)
	for {
		m, err := s.conn.Read()
		if err != nil {
			if !errors.Is(err, stream.ErrEnded) {
				s.broken = fmt.Errorf("what the receiver sends: %w", err)
			}
			return
		}
		switch m := m.(type) {
		case stream.Event:
			report.Decode(m, s.sink)
		case stream.Result:
			s.sink.Ended(report.Ended(m))
		default:
			if _, asks := m.(stream.Ask); asks {
				s.mayMove.Store(false) // it lacks something
			}
			s.messages <- m
		}
	}
}

// allSent says that all objects have been sent that were asked for.
func (s *streamPush) allSent() error {
	s.mayMove.Store(true)
	return s.conn.End(stream.Object{})
}

// Read returns the next message other than an event.
func (s *streamPush) Read() (stream.Message, error) {
	m, ok := <-s.messages
	if !ok {
		return nil, stream.ErrEnded
	}
	return m, nil
}

// push is the course of a push. If we give up, the receiver is told why.
func (s *streamPush) push(ctx context.Context) error {
	err := s.course(ctx)
	if err != nil && ctx.Err() == nil && !errors.Is(err, stream.ErrEnded) && !errors.Is(err, unix.EPIPE) {
		s.conn.Send(stream.Failure{Reason: err.Error()})
	}
	return err
}

func (s *streamPush) course(ctx context.Context) error {
	hello, _, err := stream.Next[stream.Hello](s)
	if err != nil {
		return err
	}
	s.secret = hello.Join
	states, err := readAll[stream.State](s)
	if err != nil {
		return err
	}
	shown := s.walkShown(ctx, states) // while the receiver judges
	defer shown.stop()
	if err := s.offer(ctx, states); err != nil {
		return err
	}
	asked := time.Now()
	wanted, err := readAll[stream.Wanted](s)
	s.roundTrip = time.Since(asked)
	if err != nil || len(wanted) == 0 {
		return err
	}
	w, err := shown.wait()
	if err != nil {
		return err
	}
	list, err := s.list(w, wanted)
	if err != nil {
		return err
	}
	asked = time.Now()
	missing, err := stream.ReadMissing(s, list.len())
	if err != nil {
		return err
	}
	s.roundTrip = min(s.roundTrip, time.Since(asked))
	if err := newSender(ctx, s, list, missing).run(); err != nil {
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
		for _, e := range asked {
			if _, ok := may[keyOf(e)]; !ok {
				return fmt.Errorf("the receiver asks for object %s, which is in no commit that is pushed", e.Name())
			}
			size, err := s.send(ctx, s.conn, e)
			if err != nil {
				return err
			}
			s.count(size)
		}
		if err := s.allSent(); err != nil {
			return err
		}
	}
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

// objectsOf returns what commits consist of.
func (s *streamPush) objectsOf(ctx context.Context, commits []ostree.Checksum) (map[seenKey]struct{}, error) {
	w := &walker{ctx: ctx, repo: s.src.repo, seen: map[seenKey]struct{}{}, emit: func(stream.Entry) error { return nil }}
	for _, sum := range commits {
		if err := w.walkCommit(sum); err != nil {
			return nil, err
		}
	}
	return w.seen, nil
}

// offer names the refs, and sends those of their commits that the receiver does
// not show already.
func (s *streamPush) offer(ctx context.Context, states stream.State) error {
	shown := map[ostree.Checksum]bool{}
	for _, state := range states {
		shown[state.Commit] = true
	}
	var offers stream.Offer
	var commits []ostree.Checksum
	for _, ref := range s.src.refs.Sorted() {
		if len(s.named) > 0 && !slices.Contains(s.named, string(ref)) {
			continue
		}
		sum := s.src.refs[ref]
		offers = append(offers, stream.RefOffer{Ref: ref, Commit: sum})
		if !shown[sum] {
			shown[sum] = true
			commits = append(commits, sum)
		}
	}
	if err := s.conn.SendAll(offers); err != nil {
		return err
	}
	for _, sum := range commits {
		object, err := s.src.repo.CommitObject(sum)
		if err != nil {
			return fmt.Errorf("local repository: commit %s: %w", sum, err)
		}
		detached, err := s.src.repo.DetachedMetadata(ctx, sum)
		if err != nil {
			return fmt.Errorf("local repository: commit %s: %w", sum, err)
		}
		if err := s.conn.Queue(stream.Commit{Sum: sum, Object: object, Detached: detached}); err != nil {
			return fmt.Errorf("commit %s: %w", sum, err)
		}
		s.count(int64(len(object) + len(detached)))
	}
	return s.conn.End(stream.Commit{})
}

func (s *streamPush) count(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.totals.Objects++
	s.totals.Bytes += bytes
}

// shownWalk is a walk of the trees that the receiver shows, under way.
type shownWalk struct {
	walker *walker
	cancel context.CancelFunc
	err    error
	done   chan struct{}
}

func (s *streamPush) walkShown(ctx context.Context, states stream.State) *shownWalk {
	ctx, cancel := context.WithCancel(ctx)
	shown := &shownWalk{
		walker: &walker{ctx: ctx, repo: s.src.repo, seen: map[seenKey]struct{}{}},
		cancel: cancel,
		done:   make(chan struct{}),
	}
	go func() {
		defer close(shown.done)
		shown.err = shown.walker.skipAll(states)
	}()
	return shown
}

// wait returns the walker, at the end of the walk.
func (w *shownWalk) wait() (*walker, error) {
	<-w.done
	return w.walker, w.err
}

// stop ends the walk. The walker is not to be used after that.
func (w *shownWalk) stop() {
	w.cancel()
	<-w.done
}

// list tells what the wanted commits consist of, other than what the walker has
// seen.
func (s *streamPush) list(w *walker, wanted []ostree.Checksum) (*objectList, error) {
	list := &objectList{}
	w.emit = func(e stream.Entry) error {
		if list.add(e); list.len()%stream.ListSize == 0 {
			return s.conn.Send(list.last())
		}
		return nil
	}
	offered := s.offered()
	for _, sum := range wanted {
		if !offered[sum] {
			return nil, fmt.Errorf("the receiver wants commit %s, which was not offered", sum)
		}
		if err := w.walkCommit(sum); err != nil {
			return nil, err
		}
	}
	if list.len()%stream.ListSize != 0 {
		if err := s.conn.Queue(list.last()); err != nil {
			return nil, err
		}
	}
	return list, s.conn.End(stream.List{})
}

// objectList is what has been listed, as it was sent: lists can be long.
type objectList struct{ lists []stream.List }

// add appends an object, to a new list if the last one is full.
func (l *objectList) add(e stream.Entry) {
	if l.len()%stream.ListSize == 0 {
		l.lists = append(l.lists, stream.List{})
	}
	l.lists[len(l.lists)-1].Add(e)
}

func (l *objectList) last() stream.List { return l.lists[len(l.lists)-1] }

func (l *objectList) len() int {
	if len(l.lists) == 0 {
		return 0
	}
	return (len(l.lists)-1)*stream.ListSize + l.last().Len()
}

func (l *objectList) at(i int) stream.Entry {
	return l.lists[i/stream.ListSize].At(i % stream.ListSize)
}

// offered returns the commits that may be asked for.
func (s *streamPush) offered() map[ostree.Checksum]bool {
	sums := map[ostree.Checksum]bool{}
	for ref, sum := range s.src.refs {
		if len(s.named) == 0 || slices.Contains(s.named, string(ref)) {
			sums[sum] = true
		}
	}
	return sums
}

// walker lists the objects of trees, each once, and nothing before what it is
// made of.
type walker struct {
	ctx  context.Context
	repo *ostree.Repo
	seen map[seenKey]struct{}
	emit func(stream.Entry) error
}

// seenKey is half of a checksum, which is enough to tell the objects of one
// repository apart, and the type.
type seenKey [17]byte

func keyOf(e stream.Entry) (key seenKey) {
	key[0] = byte(e.Type)
	copy(key[1:], e.Sum[:])
	return key
}

// skipAll leaves out what is below the trees of the receiver's refs.
func (w *walker) skipAll(states stream.State) error {
	for _, state := range states {
		if err := w.skip(state.Tree); err != nil {
			return err
		}
	}
	return nil
}

// skip leaves out what is below a tree of the receiver's, as far as it is here.
func (w *walker) skip(tree ostree.Tree) error {
	has, err := w.repo.HasObject(w.ctx, ostree.ObjectDirTree, tree.Contents)
	if err != nil || !has {
		return err
	}
	w.emit = func(stream.Entry) error { return nil }
	err = w.walk(tree)
	if errors.Is(err, ostree.ErrNotFound) {
		return nil // only a part of it is here
	}
	return err
}

func (w *walker) walkCommit(sum ostree.Checksum) error {
	commit, err := w.repo.LoadCommit(sum)
	if err != nil {
		return fmt.Errorf("local repository: commit %s: %w", sum, err)
	}
	commit.Close()
	if err := w.walk(commit.Tree); err != nil {
		return fmt.Errorf("local repository: commit %s: %w", sum, err)
	}
	return nil
}

func (w *walker) walk(tree ostree.Tree) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if err := w.visit(ostree.ObjectDirMeta, tree.Meta); err != nil {
		return err
	}
	if _, seen := w.seen[keyOf(stream.Entry{Type: ostree.ObjectDirTree, Sum: tree.Contents})]; seen {
		return nil
	}
	files, dirs, err := w.repo.DirTree(tree.Contents)
	if err != nil {
		return err
	}
	for _, sum := range files {
		if err := w.visit(ostree.ObjectFile, sum); err != nil {
			return err
		}
	}
	for _, dir := range dirs {
		if err := w.walk(dir); err != nil {
			return err
		}
	}
	return w.visit(ostree.ObjectDirTree, tree.Contents)
}

func (w *walker) visit(t ostree.ObjectType, sum ostree.Checksum) error {
	e := stream.Entry{Type: t, Sum: sum}
	if _, seen := w.seen[keyOf(e)]; seen {
		return nil
	}
	w.seen[keyOf(e)] = struct{}{}
	return w.emit(e)
}

// send sends an object, and returns its size.
func (s *streamPush) send(ctx context.Context, conn *stream.Conn, e stream.Entry) (int64, error) {
	f, size, err := s.openObject(ctx, e)
	if err != nil {
		return 0, fmt.Errorf("local repository: object %s: %w", e.Sum, err)
	}
	defer f.Close()
	return size, conn.SendObject(stream.Object{Entry: e, Size: size}, f)
}

// size returns the size of an object that is stored in the form in which it is
// sent.
func (s *streamPush) size(e stream.Entry) (int64, bool) {
	if e.Type == ostree.ObjectFile && s.src.repo.Mode() != ostree.ModeArchive {
		return 0, false
	}
	f, size, err := s.openObject(context.Background(), e)
	if err != nil {
		return 0, false // whoever sends it says why
	}
	f.Close()
	return size, true
}

// openObject opens an object in the form that archive repositories have it in.
func (s *streamPush) openObject(ctx context.Context, e stream.Entry) (*os.File, int64, error) {
	if e.Type != ostree.ObjectFile || s.src.repo.Mode() == ostree.ModeArchive {
		f, err := s.src.open(ostree.ArchivePath(e.Type, e.Sum))
		if err != nil {
			return nil, 0, err
		}
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = fs.ErrInvalid
		}
		if err != nil {
			f.Close()
			return nil, 0, err
		}
		return f, info.Size(), nil
	}
	return s.compress(ctx, e.Sum)
}

// compress brings a content object of another mode into that form. Its size has
// to be known before it is sent.
func (s *streamPush) compress(ctx context.Context, sum ostree.Checksum) (_ *os.File, _ int64, err error) {
	content, err := s.src.repo.OpenContent(ctx, sum)
	if err != nil {
		return nil, 0, err
	}
	defer content.Close()
	f, err := os.CreateTemp("", "ostree-push-object-")
	if err != nil {
		return nil, 0, err
	}
	os.Remove(f.Name())
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	size, err := io.Copy(f, content)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	return f, size, err
}
