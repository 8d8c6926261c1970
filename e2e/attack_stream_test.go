package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"ostree-push/ostree"
	"ostree-push/report"
	"ostree-push/stream"
)

// rogue is a pusher that need not keep to the protocol.
type rogue struct {
	t       *testing.T
	s       *lyingSource
	conn    *stream.Conn
	stdin   io.WriteCloser
	entries []stream.Entry
	bodies  map[stream.Entry][]byte
	missing *stream.Bitmap // of the entries
	secret  string         // with which further channels join
	said    string         // by the receiver, of how it ended
}

// start gets as far as the content being asked for.
func (p *rogue) start() error {
	if ok, began := p.conn.Greeted(); !ok {
		return errors.New("no greeting but " + string(began))
	}
	if err := p.skip(stream.State); err != nil {
		return err
	}
	sum := p.s.commitOf(p.t, "main")
	if err := stream.WriteRefs(p.conn, stream.Offer, []stream.RefOffer{{Ref: "main", Commit: sum}}); err != nil {
		return err
	}
	_, commit := p.s.object(p.t, "commit", "main")
	if err := p.conn.PutCommit(p.sum(sum), commit, nil); err != nil {
		return err
	}
	if err := p.conn.End(stream.Commit); err != nil {
		return err
	}
	return p.skip(stream.Wanted)
}

func (p *rogue) sum(s string) ostree.Checksum {
	sum, err := ostree.ParseChecksum(s)
	if err != nil {
		panic(err)
	}
	return sum
}

// skip reads frames to the end of those of a kind.
func (p *rogue) skip(kind stream.Kind) error {
	for {
		got, payload, err := p.read()
		if err != nil || got == kind && len(payload) == 0 {
			return err
		}
		if got == stream.Hello {
			var hello stream.HelloMessage
			if err := json.Unmarshal(payload, &hello); err != nil {
				return err
			}
			p.secret = hello.Join
		}
	}
}

// list tells of all objects of the commit.
func (p *rogue) list() error {
	var payload []byte
	for _, e := range p.entries {
		payload = stream.AppendEntry(payload, e)
	}
	if err := p.conn.Write(stream.List, payload); err != nil {
		return err
	}
	if err := p.conn.End(stream.List); err != nil {
		return err
	}
	missing, err := stream.ReadBitmap(len(p.entries), func() ([]byte, error) {
		for {
			kind, payload, err := p.read()
			if err != nil || kind == stream.Missing {
				return payload, err
			}
		}
	})
	p.missing = missing
	return err
}

// put sends an object with that content.
func (p *rogue) put(e stream.Entry, content []byte) error {
	return p.conn.PutObject(e, int64(len(content)), bytes.NewReader(content))
}

// putAll sends all objects, with what replace has instead of their content.
func (p *rogue) putAll(replace map[stream.Entry][]byte) error {
	for i, e := range p.entries {
		if !p.missing.Missing(i) {
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
	return p.conn.End(stream.Object)
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
	p = &rogue{t: t, s: s, conn: stream.New(stdout, stdin), stdin: stdin, bodies: map[stream.Entry][]byte{}}
	// The dirmeta is one that the victim has.
	for _, extension := range []string{"filez", "dirtree"} {
		path, content := s.object(t, extension, "main")
		e := stream.Entry{Type: ostree.ObjectFile, Sum: sumOf(t, path)}
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

// read reads a frame, and keeps what the receiver says of how it ended.
func (p *rogue) read() (stream.Kind, []byte, error) {
	kind, payload, err := p.conn.Read()
	var end report.Ended
	if err == nil && kind == stream.Result && json.Unmarshal(payload, &end) == nil {
		p.said = end.Error
	}
	return kind, payload, err
}

// ended reads all that is left, and returns what the receiver says of how it ended.
func (p *rogue) ended() string {
	for {
		if _, _, err := p.read(); err != nil {
			return p.said
		}
	}
}

// TestRoguePushers has pushers with a key send what no honest one would: the
// receiver says what is wrong, and the repository is as it was.
func TestRoguePushers(t *testing.T) {
	s := newLyingSource(t)
	_, otherFile := s.object(t, "filez", "other")
	_, otherTree := s.object(t, "dirtree", "other")
	_, otherCommit := s.object(t, "commit", "other")
	filePath, fileBody := s.object(t, "filez", "main")
	treePath, _ := s.object(t, "dirtree", "main")
	file := stream.Entry{Type: ostree.ObjectFile, Sum: sumOf(t, filePath)}
	tree := stream.Entry{Type: ostree.ObjectDirTree, Sum: sumOf(t, treePath)}
	fileBomb := bomb(t, fileBody) // takes its time
	stranger := stream.Entry{Type: ostree.ObjectFile, Sum: ostree.Checksum{1}}

	for _, test := range []struct {
		name string
		do   func(p *rogue) error
		want string // of standard error; "": the push is good
	}{
		{"nothing wrong", func(p *rogue) error { return errors.Join(p.start(), p.list(), p.putAll(nil)) }, ""},
		{"another file under its name", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.putAll(map[stream.Entry][]byte{file: otherFile}))
		}, "[Cc]orrupted file object"},
		{"another tree under its name", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.putAll(map[stream.Entry][]byte{tree: otherTree}))
		}, "[Cc]orrupted dirtree"},
		{"a bomb", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.putAll(map[stream.Entry][]byte{file: fileBomb}))
		}, "it is a compression bomb"},
		{"a file cut short", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.putAll(map[stream.Entry][]byte{file: fileBody[:1000]}))
		}, "receive the objects: "},
		{"the end in an object", func(p *rogue) error {
			p.start()
			p.list()
			p.conn.PutObject(file, 1<<20, bytes.NewReader(fileBody))
			return p.conn.Write(stream.Object, nil)
		}, "the connection ended early|nobody asked for it"},
		{"an object twice", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.put(file, fileBody), p.put(file, fileBody), p.conn.End(stream.Object))
		}, "object [0-9a-f]{64}: nobody asked for it"},
		{"an object that nobody asked for", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.put(stranger, fileBody), p.conn.End(stream.Object))
		}, "object 01[0-9a-f]{62}: nobody asked for it"},
		{"an object too few", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.put(file, fileBody), p.conn.End(stream.Object))
		}, "object [0-9a-f]{64} has not been sent"},
		{"an object of no kind", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.put(stream.Entry{Type: 9}, nil), p.conn.End(stream.Object))
		}, "an object of type 9"},
		{"an enormous tree", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.conn.PutObject(tree, 1<<40, zeros{}))
		}, "[0-9]+ bytes are too many"},
		{"an enormous file", func(p *rogue) error {
			return errors.Join(p.start(), p.list(), p.conn.PutObject(file, 1<<60, zeros{}))
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
			p.skip(stream.Ask)
			return p.conn.End(stream.Object)
		}, "receive the objects: object [0-9a-f]{64} has not been sent"},
		{"objects that are asked for and are none of those", func(p *rogue) error {
			whole := p.entries
			p.entries = p.entries[:1]
			if err := errors.Join(p.start(), p.list(), p.putAll(nil)); err != nil {
				return err
			}
			p.skip(stream.Ask)
			p.entries = whole[:1]
			return p.putAll(nil)
		}, "receive the objects: object [0-9a-f]{64}: nobody asked for it"},
		{"a commit that was not offered", func(p *rogue) error {
			p.conn.Greeted()
			p.skip(stream.State)
			stream.WriteRefs(p.conn, stream.Offer, []stream.RefOffer{{Ref: "main", Commit: s.commitOf(t, "main")}})
			p.conn.PutCommit(p.sum(s.commitOf(t, "other")), otherCommit, nil)
			return p.conn.End(stream.Commit)
		}, "commit [0-9a-f]{64}: nobody asked for it"},
		{"another commit under its name", func(p *rogue) error {
			p.conn.Greeted()
			p.skip(stream.State)
			stream.WriteRefs(p.conn, stream.Offer, []stream.RefOffer{{Ref: "main", Commit: s.commitOf(t, "main")}})
			p.conn.PutCommit(p.sum(s.commitOf(t, "main")), otherCommit, nil)
			return p.conn.End(stream.Commit)
		}, "[Cc]orrupted commit"},
		{"no commit", func(p *rogue) error {
			p.conn.Greeted()
			p.skip(stream.State)
			stream.WriteRefs(p.conn, stream.Offer, []stream.RefOffer{{Ref: "main", Commit: s.commitOf(t, "main")}})
			return p.conn.End(stream.Commit)
		}, "ref main: commit [0-9a-f]{64}: "},
		{"a ref above", func(p *rogue) error {
			p.conn.Greeted()
			p.skip(stream.State)
			return stream.WriteRefs(p.conn, stream.Offer, []stream.RefOffer{{Ref: "../x", Commit: s.commitOf(t, "main")}})
		}, `invalid ref name "../x"`},
		{"refs without end", func(p *rogue) error {
			p.conn.Greeted()
			p.skip(stream.State)
			many := make([]stream.RefOffer, stream.MaxRefs+1)
			return stream.WriteRefs(p.conn, stream.Offer, many)
		}, "more than 100000 refs"},
		{"a frame out of order", func(p *rogue) error {
			p.conn.Greeted()
			return p.conn.Write(stream.Object, nil)
		}, `a frame 'D' instead of 'O'`},
		{"a frame that is too large", func(p *rogue) error {
			p.conn.Greeted()
			_, err := p.stdin.Write([]byte("O\x7f\xff\xff\xff"))
			return err
		}, "a frame 'O' of 2147483647 bytes"},
		{"nothing at all", func(p *rogue) error {
			p.conn.Greeted()
			return errWait
		}, "the client does not send any more"},
	} {
		t.Run(test.name, func(t *testing.T) {
			victim := newVictim(t)
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
