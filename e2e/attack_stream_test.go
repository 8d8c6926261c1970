package e2e

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ostree-push/ostree"
	"ostree-push/stream"
)

// rogue is a pusher that need not keep to the protocol.
type rogue struct {
	t       *testing.T
	s       *lyingSource
	conn    *stream.Conn
	stdin   io.WriteCloser
	entries []ostree.ObjectName
	bodies  map[ostree.ObjectName][]byte
	missing stream.Missing // of the entries
	secret  string         // with which further channels join
	target  string         // the repository
	said    string         // by the receiver, of how it ended
}

// start gets as far as the content being asked for.
func (p *rogue) start() error {
	if ok, began := p.conn.Greeted(); !ok {
		return errors.New("no greeting but " + string(began))
	}
	if err := p.offer("main"); err != nil {
		return err
	}
	if err := p.skip(stream.State{}); err != nil {
		return err
	}
	if err := p.commit("main", "main"); err != nil {
		return err
	}
	return p.skip(stream.Wanted{})
}

func (p *rogue) sum(s string) ostree.Checksum {
	sum, err := ostree.ParseChecksum(s)
	if err != nil {
		panic(err)
	}
	return sum
}

// offer offers the commit of that ref of the source as main.
func (p *rogue) offer(ref string) error {
	return p.conn.SendAll(stream.Offer{{Ref: "main", Commit: p.sum(p.s.commitOf(p.t, ref))}})
}

// commit sends the content of one commit of the source under the name of another, as the only one.
func (p *rogue) commit(name, content string) error {
	_, object := p.s.object(p.t, "commit", content)
	commit := stream.Commit{Sum: p.sum(p.s.commitOf(p.t, name)), Object: object}
	return errors.Join(p.conn.Queue(commit), p.conn.End(commit))
}

// skip reads messages to the end of a series of those like m.
func (p *rogue) skip(m stream.Message) error {
	for {
		got, err := p.Read()
		if err != nil || got == (stream.End{Of: m.Kind()}) {
			return err
		}
		if hello, ok := got.(stream.Hello); ok {
			p.secret = hello.Join
		}
	}
}

// list tells of all objects of the commit.
func (p *rogue) list() error {
	var list stream.List
	for _, e := range p.entries {
		list.Add(e)
	}
	if err := p.conn.Send(list); err != nil {
		return err
	}
	if err := p.conn.End(list); err != nil {
		return err
	}
	missing, err := stream.ReadMissing(withoutEvents{p}, len(p.entries))
	p.missing = missing
	return errors.Join(err, p.skip(stream.Partial{}))
}

// withoutEvents reads what a receiver says, other than events.
type withoutEvents struct{ r stream.Reader }

func (w withoutEvents) Read() (stream.Message, error) {
	for {
		m, err := w.r.Read()
		if _, isEvent := m.(stream.Event); err != nil || !isEvent {
			return m, err
		}
	}
}

// put sends an object with that content.
func (p *rogue) put(e ostree.ObjectName, content []byte) error {
	return p.conn.SendData(stream.Data{ObjectName: e, Length: int64(len(content)), Last: true}, bytes.NewReader(content))
}

// form is that of pieces.
var form = stream.Form{1}

// putPiece sends a part of the content of an object, which has that form.
func (p *rogue) putPiece(form stream.Form, e ostree.ObjectName, start, end int, last bool) error {
	piece := stream.Data{ObjectName: e, Form: form, Offset: int64(start), Length: int64(end - start), Last: last}
	return p.conn.SendData(piece, bytes.NewReader(p.bodies[e][start:end]))
}

// waitForObject waits until an object has arrived.
func (p *rogue) waitForObject() {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for found := []string(nil); len(found) == 0; <-ticker.C {
		found, _ = filepath.Glob(filepath.Join(p.target, "tmp/ostree-receive-*/objects/??/*.filez"))
		if p.t.Context().Err() != nil {
			return
		}
	}
}

// putAll sends all objects, with what replace has instead of their content.
func (p *rogue) putAll(replace map[ostree.ObjectName][]byte) error {
	for i, e := range p.entries {
		if !p.missing.Has(i) {
			continue
		}
		content, ok := replace[e]
		if !ok {
			content = p.bodies[e]
		}
		if err := p.put(e, content); err != nil {
			return err
		}
	}
	return p.conn.End(stream.Data{})
}

// newRogue starts a receiver into the victim, and returns a pusher to it. wait
// returns how the receiver has ended, and what it says of that.
func newRogue(t *testing.T, s *lyingSource, v *victim) (p *rogue, wait func() (string, error)) {
	t.Helper()
	return newRogueAt(t, s, v, stream.URL)
}

// newRogueAt has the receiver receive from that URL.
func newRogueAt(t *testing.T, s *lyingSource, v *victim, url string) (p *rogue, wait func() (string, error)) {
	t.Helper()
	cmd := exec.Command("ostree-receive", v.dir, url)
	cmd.Env = append(os.Environ(), "OSTREE_RECEIVE_CONF="+v.config)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p = &rogue{t: t, s: s, conn: stream.New(stream.Pusher, stdout, stdin), stdin: stdin, target: v.dir, bodies: map[ostree.ObjectName][]byte{}}
	// The dirmeta is one that the victim has.
	for _, extension := range []string{"filez", "dirtree"} {
		path, content := s.object(t, extension, "main")
		e := ostree.ObjectName{Type: ostree.ObjectFile, Sum: sumOf(t, path)}
		if extension == "dirtree" {
			e.Type = ostree.ObjectDirTree
		}
		p.entries = append(p.entries, e)
		p.bodies[e] = content
	}
	return p, func() (string, error) {
		said := p.ended()
		io.Copy(io.Discard, stdout)
		err := cmd.Wait()
		return stderr.String() + said, err
	}
}

// Read reads a message, and keeps what the receiver says of how it ended.
func (p *rogue) Read() (stream.Message, error) {
	m, err := p.conn.Read()
	if end, ok := m.(stream.Result); ok {
		p.said = end.Error
	}
	return m, err
}

// ended reads all that is left, and returns what the receiver says of how it ended.
func (p *rogue) ended() string {
	for {
		if _, err := p.Read(); err != nil {
			return p.said
		}
	}
}

// TestRoguePushers has pushers with a key send what no honest one would: the
// receiver says what is wrong, and the repository is as it was.
func TestRoguePushers(t *testing.T) {
	t.Parallel()
	s := newLyingSource(t)
	_, otherFile := s.object(t, "filez", "other")
	_, otherTree := s.object(t, "dirtree", "other")
	filePath, fileBody := s.object(t, "filez", "main")
	treePath, _ := s.object(t, "dirtree", "main")
	file := ostree.ObjectName{Type: ostree.ObjectFile, Sum: sumOf(t, filePath)}
	tree := ostree.ObjectName{Type: ostree.ObjectDirTree, Sum: sumOf(t, treePath)}
	fileBomb := bomb(t, fileBody) // takes its time
	const k = 1 << 10
	if len(fileBody) < 200*k {
		t.Fatalf("%d bytes are too few for pieces", len(fileBody))
	}
	// inPieces sends the file in pieces, as send does with the function that it gets, and the rest as it should be.
	inPieces := func(send func(p *rogue, piece func(start, end int, last bool)) error) func(p *rogue) error {
		return func(p *rogue) error {
			err := errors.Join(p.start(), p.list())
			sendErr := send(p, func(start, end int, last bool) { err = errors.Join(err, p.putPiece(form, file, start, end, last)) })
			return errors.Join(err, sendErr, p.put(tree, p.bodies[tree]), p.conn.End(stream.Data{}))
		}
	}
	stranger := ostree.ObjectName{Type: ostree.ObjectFile, Sum: ostree.Checksum{1}}

	for _, test := range []struct {
		name string
		do   func(p *rogue) error
		want string // of standard error; "": the push is good
	}{
		{"nothing wrong", func(p *rogue) error { return errors.Join(p.start(), p.list(), p.putAll(nil)) }, ""},
		{"another file under its name", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.putAll(map[ostree.ObjectName][]byte{file: otherFile}))
		}, "[Cc]orrupted file object"},
		{"another tree under its name", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.putAll(map[ostree.ObjectName][]byte{tree: otherTree}))
		}, "[Cc]orrupted dirtree"},
		{"a bomb", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.putAll(map[ostree.ObjectName][]byte{file: fileBomb}))
		}, "it is a compression bomb"},
		{"a file cut short", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.putAll(map[ostree.ObjectName][]byte{file: fileBody[:1000]}))
		}, "receive the objects: "},
		{"the end in an object", func(p *rogue) error {
			p.start()
			p.list()
			p.conn.SendData(stream.Data{ObjectName: file, Length: 1 << 20, Last: true}, bytes.NewReader(fileBody))
			return p.conn.End(stream.Data{})
		}, "the connection ended early|nobody asked for it"},
		{"an object twice", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.put(file, fileBody), p.put(file, fileBody), p.conn.End(stream.Data{}))
		}, "object [0-9a-f]{64}: nobody asked for it"},
		{"an object that nobody asked for", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.put(stranger, fileBody), p.conn.End(stream.Data{}))
		}, "object 01[0-9a-f]{62}: nobody asked for it"},
		{"an object too few", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.put(file, fileBody), p.conn.End(stream.Data{}))
		}, "object [0-9a-f]{64} has not been sent"},
		{"an object of no kind", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.put(ostree.ObjectName{Type: 9}, nil), p.conn.End(stream.Data{}))
		}, "an object of type 9"},
		{"an enormous tree", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.conn.SendData(stream.Data{ObjectName: tree, Offset: 1 << 40, Length: 1 << 20, Last: true}, zeros{}))
		}, "[0-9]+ bytes are too many"},
		{"an enormous file", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.conn.SendData(stream.Data{ObjectName: file, Offset: 1 << 60, Length: 1 << 20, Last: true}, zeros{}))
		}, "no space left"},
		{"a list with an object twice", func(p *rogue) error {
			p.entries = append(p.entries, p.entries[0])
			return errors.Join(p.start(), p.list())
		}, "listed twice"},
		{"a list that leaves out the tree", func(p *rogue) error {
			p.entries = p.entries[:1]
			if err := errors.Join(p.start(), p.list(), p.putAll(nil)); err != nil {
				return err
			}
			// The receiver asks for it.
			p.skip(stream.Ask{})
			return p.conn.End(stream.Data{})
		}, "receive the objects: object [0-9a-f]{64} has not been sent"},
		{"objects that are asked for and are none of those", func(p *rogue) error {
			whole := p.entries
			p.entries = p.entries[:1]
			if err := errors.Join(p.start(), p.list(), p.putAll(nil)); err != nil {
				return err
			}
			p.skip(stream.Ask{})
			p.entries = whole[:1]
			return p.putAll(nil)
		}, "receive the objects: object [0-9a-f]{64}: nobody asked for it"},
		{"a commit that was not offered", func(p *rogue) error {
			p.conn.Greeted()
			p.offer("main")
			p.skip(stream.State{})
			return p.commit("other", "other")
		}, "commit [0-9a-f]{64}: nobody asked for it"},
		{"a commit twice", func(p *rogue) error {
			p.conn.Greeted()
			p.offer("main")
			p.skip(stream.State{})
			_, object := s.object(t, "commit", "main")
			commit := stream.Commit{Sum: p.sum(s.commitOf(t, "main")), Object: object}
			return errors.Join(p.conn.Queue(commit), p.conn.Queue(commit), p.conn.End(commit))
		}, "commit [0-9a-f]{64}: nobody asked for it"},
		{"a ref twice", func(p *rogue) error {
			p.conn.Greeted()
			offer := stream.RefOffer{Ref: "main", Commit: p.sum(s.commitOf(t, "main"))}
			return p.conn.SendAll(stream.Offer{offer, offer})
		}, "ref main is offered twice"},
		{"another commit under its name", func(p *rogue) error {
			p.conn.Greeted()
			p.offer("main")
			p.skip(stream.State{})
			return p.commit("main", "other")
		}, "[Cc]orrupted commit"},
		{"no commit", func(p *rogue) error {
			p.conn.Greeted()
			p.offer("main")
			p.skip(stream.State{})
			return p.conn.End(stream.Commit{})
		}, "ref main: commit [0-9a-f]{64}: "},
		{"a ref above", func(p *rogue) error {
			p.conn.Greeted()
			return p.conn.SendAll(stream.Offer{{Ref: "../x", Commit: p.sum(s.commitOf(t, "main"))}})
		}, `invalid ref name "../x"`},
		{"refs without end", func(p *rogue) error {
			p.conn.Greeted()
			return p.conn.SendAll(stream.Offer(slices.Repeat([]stream.RefOffer{{Ref: "main"}}, stream.MaxRefs+1)))
		}, "more than 100000 refs"},
		{"a frame out of order", func(p *rogue) error {
			p.conn.Greeted()
			return p.conn.End(stream.Data{})
		}, `a frame 'D' \(Data\) instead of 'O' \(Offer\)`},
		{"a frame that is too large", func(p *rogue) error {
			p.conn.Greeted()
			_, err := p.stdin.Write([]byte("O\x7f\xff\xff\xff"))
			return err
		}, `a frame 'O' \(Offer\) of 2147483647 bytes`},
		{"pieces out of order", inPieces(func(_ *rogue, piece func(int, int, bool)) error {
			piece(128*k, len(fileBody), true)
			piece(64*k, 128*k, false)
			piece(0, 64*k, false)
			return nil
		}), ""},
		{"an end of its own", inPieces(func(_ *rogue, piece func(int, int, bool)) error {
			piece(0, 128*k, false)
			piece(128*k, len(fileBody), false)
			piece(len(fileBody), len(fileBody), true)
			return nil
		}), ""},
		{"pieces that overlap", inPieces(func(_ *rogue, piece func(int, int, bool)) error {
			piece(0, 128*k, false)
			piece(128*k-1, len(fileBody), true)
			return nil
		}), "object [0-9a-f]{64}: a piece of it comes twice, at 131071"},
		{"a piece twice", inPieces(func(_ *rogue, piece func(int, int, bool)) error {
			piece(64*k, 128*k, false)
			piece(64*k, 128*k, false)
			return nil
		}), "object [0-9a-f]{64}: a piece of it comes twice, at 65536"},
		{"a piece of an object that has come", inPieces(func(p *rogue, piece func(int, int, bool)) error {
			return errors.Join(p.put(file, fileBody), p.putPiece(form, file, 0, 128*k, false))
		}), "object [0-9a-f]{64}: nobody asked for it"},
		{"a piece beyond the end", inPieces(func(_ *rogue, piece func(int, int, bool)) error {
			piece(0, 64*k, true)
			piece(64*k, 128*k, false)
			return nil
		}), "a piece of it is beyond its end|Need more input"},
		{"an end before a piece", inPieces(func(_ *rogue, piece func(int, int, bool)) error {
			piece(128*k, 192*k, false)
			piece(64*k, 128*k, true)
			return nil
		}), "a piece of it is beyond its end"},
		{"two ends", inPieces(func(_ *rogue, piece func(int, int, bool)) error {
			piece(128*k, len(fileBody), true)
			piece(64*k, 128*k, true)
			return nil
		}), "it ends twice, at [0-9]+ and at 131072"},
		{"an end that comes early", inPieces(func(_ *rogue, piece func(int, int, bool)) error {
			piece(0, 64*k, false)
			piece(64*k, 128*k, true)
			return nil
		}), "receive the objects: object [0-9a-f]{64}: "},
		{"a piece too few", inPieces(func(_ *rogue, piece func(int, int, bool)) error {
			piece(0, 64*k, false)
			piece(128*k, len(fileBody), true)
			return nil
		}), "object [0-9a-f]{64} has not been sent as a whole"},
		{"no end", inPieces(func(_ *rogue, piece func(int, int, bool)) error {
			piece(0, len(fileBody), false)
			return nil
		}), "object [0-9a-f]{64} has not been sent as a whole"},
		{"pieces of several forms", inPieces(func(p *rogue, piece func(int, int, bool)) error {
			piece(0, 64*k, false)
			return p.putPiece(stream.Form{2}, file, 64*k, len(fileBody), true)
		}), "object [0-9a-f]{64}: its pieces have several forms"},
		{"another file in pieces", inPieces(func(p *rogue, piece func(int, int, bool)) error {
			p.bodies[file] = otherFile
			piece(0, 64*k, false)
			piece(64*k, len(otherFile), true)
			return nil
		}), "[Cc]orrupted file object"},
		{"a bomb in pieces", inPieces(func(p *rogue, piece func(int, int, bool)) error {
			p.bodies[file] = bytes.Clone(fileBomb)
			for at := 0; at < len(fileBomb); at += 64 * k {
				end := min(at+64*k, len(fileBomb))
				piece(at, end, end == len(fileBomb))
			}
			return nil
		}), "it is a compression bomb"},
		{"pieces of a byte", inPieces(func(_ *rogue, piece func(int, int, bool)) error {
			piece(0, 1, false)
			return nil
		}), `a frame 'D' \(Data\): a piece of object [0-9a-f]{64} that is not the last has 1 bytes`},
		{"a piece nearly at the end of all numbers", inPieces(func(p *rogue, _ func(int, int, bool)) error {
			return p.conn.SendData(stream.Data{ObjectName: file, Offset: 1<<63 - 1<<20, Length: 1 << 20, Last: true}, zeros{})
		}), `a frame 'D' \(Data\): [0-9]+ bytes, which no object has`},
		{"a thousand objects that are begun", func(p *rogue) error {
			p.entries = nil
			for i := range 1000 {
				p.entries = append(p.entries, ostree.ObjectName{Type: ostree.ObjectFile, Sum: ostree.Checksum{byte(i), byte(i >> 8), 7}})
			}
			err := errors.Join(p.start(), p.list())
			for _, e := range p.entries {
				p.bodies[e] = fileBody
				err = errors.Join(err, p.putPiece(form, e, 0, 64*k, false))
			}
			return err
		}, "128 objects have been begun and not ended"},
		{"nothing at all", func(p *rogue) error {
			p.conn.Greeted()
			return errWait
		}, "the client " + silence},
	} {
		t.Run(test.name, func(t *testing.T) {
			victim := newVictim(t)
			victim.awaits(t, test.want)
			p, wait := newRogue(t, s, victim)
			doErr := test.do(p)
			if !errors.Is(doErr, errWait) {
				p.stdin.Close()
			}
			stderr, err := wait()
			if test.want == "" {
				if err != nil || doErr != nil {
					t.Errorf("%v, %v\n%s", err, doErr, stderr)
				}
				output(t, "ostree", "--repo="+victim.dir, "fsck", "-q")
				return
			}
			victim.checkRefused(t, stderr, err)
			if !matches(test.want, stderr) {
				t.Errorf("it says %q, not %q", stderr, test.want)
			}
		})
	}
}

// A list of more than the disk has room for ends with that, and not with the memory.
func TestListWithoutEnd(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	output(t, "ostree", "--repo="+v.dir, "config", "set", "core.min-free-space-size", "1000000TB")
	p, wait := newRogue(t, newLyingSource(t), v)
	err := p.start()
	for i := 0; err == nil && i < 100; i++ {
		var list stream.List
		for j := range stream.ListSize {
			list.Add(ostree.ObjectName{Type: ostree.ObjectFile, Sum: ostree.Checksum{byte(j), byte(j >> 8), byte(i)}})
		}
		err = p.conn.Send(list)
	}
	p.stdin.Close()
	stderr, err := wait()
	v.checkRefused(t, stderr, err)
	if !strings.Contains(stderr, "list of objects: no space left") {
		t.Errorf("it says %q", stderr)
	}
}

// TestLyingDigests has pushers say of a commit that it publishes what the ref shows: that ref stays as it is, and nothing of the commit
// is looked at, so that the pusher deceives nobody but itself.
func TestLyingDigests(t *testing.T) {
	t.Parallel()
	s := newLyingSource(t)
	victim := newVictim(t)
	output(t, "ostree", "--repo="+victim.dir, "pull-local", s.dir, "main")
	victim.before = victim.refs(t)
	repo, err := ostree.Open(victim.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	p, wait := newRogue(t, s, victim)
	shows, err := repo.LoadCommit(p.sum(s.commitOf(t, "main")))
	if err != nil {
		t.Fatal(err)
	}
	defer shows.Close()

	p.conn.Greeted()
	offer := stream.Offer{
		{Ref: "main", Commit: p.sum(s.commitOf(t, "other")), Digest: shows.PublishedDigest()},
		{Ref: "new", Commit: p.sum(s.commitOf(t, "main")), Digest: shows.PublishedDigest()},
	}
	// The commit of the first one comes all the same, and is none: nobody has a use for it.
	_, object := s.object(t, "commit", "main")
	err = errors.Join(p.conn.SendAll(offer), p.conn.Queue(stream.Commit{Sum: offer[0].Commit, Object: []byte("nonsense")}),
		p.conn.Queue(stream.Commit{Sum: offer[1].Commit, Object: object}), p.conn.End(stream.Commit{}))
	if err != nil {
		t.Fatal(err)
	}
	state, err := p.state()
	want := stream.State{{UpToDate: true, Shows: shows.Checksum}, {}}
	if err != nil || !reflect.DeepEqual(state, want) {
		t.Errorf("it has %+v, not %+v; %v", state, want, err)
	}
	if err := p.skip(stream.Wanted{}); err != nil {
		t.Error(err)
	}
	err = errors.Join(p.conn.End(stream.List{}), p.skip(stream.Missing{}), p.skip(stream.Partial{}), p.conn.End(stream.Data{}))
	if err != nil {
		t.Error(err)
	}
	if said, err := wait(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
	after := output(t, "ostree", "--repo="+victim.dir, "rev-parse", "main")
	if strings.TrimSpace(after) != shows.Checksum.String() {
		t.Errorf("main shows %s", after)
	}
	if has, err := repo.HasObject(t.Context(), ostree.ObjectCommit, offer[0].Commit); has || err != nil {
		t.Errorf("the commit that nobody has a use for is there: %v, %v", has, err)
	}
	output(t, "ostree", "--repo="+victim.dir, "rev-parse", "new")
	output(t, "ostree", "--repo="+victim.dir, "fsck", "-q")
}

// state reads what the receiver has of the refs that are offered.
func (p *rogue) state() (all stream.State, err error) {
	for {
		m, err := withoutEvents{p}.Read()
		if err != nil {
			return all, err
		}
		switch m := m.(type) {
		case stream.State:
			all = append(all, m...)
		case stream.End:
			return all, nil
		}
	}
}

func matches(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }

// errWait keeps the connection open.
var errWait = errors.New("wait")

// sumOf returns the checksum in the path of an object.
func sumOf(t *testing.T, path string) ostree.Checksum {
	t.Helper()
	path = strings.TrimPrefix(path, "/objects/")
	path, _, _ = strings.Cut(path, ".")
	sum, err := ostree.ParseChecksum(strings.ReplaceAll(path, "/", ""))
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
