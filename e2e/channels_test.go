package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ostree-push/internal/link"
	"ostree-push/internal/otrepo"
	"ostree-push/ostree"
	"ostree-push/stream"
)

// randomTree is a directory of files that do not compress, some of them large.
func randomTree(t *testing.T, seed uint64, files, size int) string {
	t.Helper()
	dir := t.TempDir()
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	for i := range files {
		content := make([]byte, size/2+int(random.Uint64()%uint64(size)))
		random.Read(content)
		path := filepath.Join(dir, fmt.Sprint("dir", i%7), fmt.Sprint("file", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A large push over a link with a delay takes as many channels as it may, and
// those that the server gives it. That goes by how long the line seems, so nothing runs beside it.
func TestChannels(t *testing.T) {
	local := filepath.Join(t.TempDir(), "local")
	if err := otrepo.Init(local, "archive"); err != nil {
		t.Fatal(err)
	}
	tree := randomTree(t, 1, 100, 400_000)
	if _, err := (otrepo.Commit{Ref: "main", Dir: tree}).Write(local); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		lines    []string // of sshd_config
		options  []string
		rtt      time.Duration
		channels string // that are used
	}{
		{"four", nil, nil, 20 * time.Millisecond, "4"},
		{"two", nil, []string{"--channels=2"}, 20 * time.Millisecond, "2"},
		{"one", nil, []string{"--channels=1"}, 20 * time.Millisecond, "1"},
		// A machine that is busy makes it seem longer.
		{"a long line", nil, nil, 120 * time.Millisecond, "([89]|10)"},
		{"two over a long line", nil, []string{"--channels=2"}, 120 * time.Millisecond, "2"},
		{"ten over the longest line", nil, nil, 200 * time.Millisecond, "10"},
		{"a server that allows one", []string{"MaxSessions 1"}, nil, 20 * time.Millisecond, "1"},
		{"a server that allows three", []string{"MaxSessions 3"}, nil, 20 * time.Millisecond, "3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			remote := newSSHRemote(t, test.lines...)
			port := remote.linkTo(t, link.Link{RTT: test.rtt})
			cmd := remote.pushCommand(t.Context(), port, append(test.options, "-v", "--repo="+local))
			said, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			if want := regexp.MustCompile("The objects came on " + test.channels + " channels"); !want.Match(said) {
				t.Errorf("it does not say %q:\n%s", want, said)
			}
			output(t, "ostree", "--repo="+remote.repo, "fsck", "-q")
			output(t, "ostree", "--repo="+remote.repo, "rev-parse", "main")
			remote.checkNothingLeft(t)
		})
	}
}

// joinPush starts a receiver that is to join a push, and sends it a secret.
func joinPush(t *testing.T, s *lyingSource, v *victim, secret string) (p *rogue, wait func() (string, error)) {
	t.Helper()
	p, wait = newRogueAt(t, s, v, stream.JoinURL)
	if ok, began := p.conn.Greeted(); !ok {
		t.Fatalf("no greeting but %q", began)
	}
	if err := p.conn.Send(stream.Join{Secret: secret}); err != nil {
		t.Fatal(err)
	}
	return p, wait
}

// Who does not know the secret of a push cannot join it, and that is on record; the
// push goes on.
func TestJoinWithoutSecret(t *testing.T) {
	t.Parallel()
	s := newLyingSource(t)
	v := newVictim(t)
	log := filepath.Join(t.TempDir(), "audit")
	v.configure(t, patience, `audit_log = "`+log+`"`)
	p, wait := newRogue(t, s, v)
	if err := errors.Join(p.start(), p.list()); err != nil {
		t.Fatal(err)
	}
	name, key, _ := strings.Cut(p.secret, "/")
	if len(key) != 32 {
		t.Fatalf("the secret is %q", p.secret)
	}
	secrets := []string{
		"", "/", name, name + "/", key,
		name + "/" + strings.Repeat("0", 32),
		name + "/" + key[:31], name + "/" + key + "0", name + "/" + key + "/",
		"../tmp/" + p.secret, "ostree-receive-/../" + p.secret, "ostree-receive-other/" + key, "./" + p.secret,
		name + "\x00/" + key, strings.Repeat("x", 100_000),
	}
	refused := func(secret string, j *rogue, wait func() (string, error)) {
		t.Helper()
		j.stdin.Close()
		stderr, err := wait()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(stderr, "join a push: ") {
			t.Errorf("%.50q: %v, %s", secret, err, stderr)
		}
		if strings.Contains(stderr, key) {
			t.Errorf("%.50q: the key is shown: %s", secret, stderr)
		}
	}
	for _, secret := range secrets {
		j, wait := joinPush(t, s, v, secret)
		refused(secret, j, wait)
	}
	// Nor can who sends what is no secret at all.
	frames := []string{"T\x00\x00\x00\x02\xff/", "D\x00\x00\x00\x00"}
	for _, frame := range frames {
		j, wait := newRogueAt(t, s, v, stream.JoinURL)
		j.conn.Greeted()
		if _, err := io.WriteString(j.stdin, frame); err != nil {
			t.Fatal(err)
		}
		refused(frame, j, wait)
	}
	if err := p.putAll(nil); err != nil {
		t.Error(err)
	}
	p.stdin.Close()
	if stderr, err := wait(); err != nil {
		t.Errorf("the push itself: %v\n%s", err, stderr)
	}
	content, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	all := len(secrets) + len(frames)
	if n := strings.Count(string(content), `"verdict":"refused"`); n != all || len(lines) != all+2 /* the push: intended, and accepted */ {
		t.Errorf("%d lines in the audit log, %d of them refused:\n%s", len(lines), n, content)
	}
	if strings.Contains(string(content), key) {
		t.Error("the key is in the audit log")
	}
}

// What comes on a channel that has joined is checked like the rest.
func TestRogueChannels(t *testing.T) {
	t.Parallel()
	s := newLyingSource(t)
	_, otherFile := s.object(t, "filez", "other")
	for _, test := range []struct {
		name string
		do   func(p, j *rogue) error // the push, and a channel that has joined it
		want string                  // of the push's standard error; "": the push is good
		left int
	}{
		{"nothing wrong", func(p, j *rogue) error {
			e := p.entries[0]
			return errors.Join(j.put(e, p.bodies[e]), j.conn.End(stream.Data{}),
				p.put(p.entries[1], p.bodies[p.entries[1]]), p.conn.End(stream.Data{}))
		}, "", 0},
		{"the first channel has nothing to send", func(p, j *rogue) error {
			err := p.conn.End(stream.Data{})
			for _, e := range p.entries {
				err = errors.Join(err, j.put(e, p.bodies[e]))
			}
			return errors.Join(err, j.conn.End(stream.Data{}))
		}, "", 0},
		{"another file under its name", func(p, j *rogue) error {
			return errors.Join(j.put(p.entries[0], otherFile), j.conn.Flush())
		}, "corrupted file object", 0},
		{"an object that nobody asked for", func(p, j *rogue) error {
			return errors.Join(j.put(ostree.ObjectName{Type: ostree.ObjectFile, Sum: ostree.Checksum{1}}, otherFile), j.conn.Flush())
		}, "object 01[0-9a-f]{62}: nobody asked for it", 0},
		{"an object on both", func(p, j *rogue) error {
			e := p.entries[0]
			return errors.Join(j.put(e, p.bodies[e]), j.conn.Flush(), p.put(e, p.bodies[e]), p.conn.Flush())
		}, "nobody asked for it", 0},
		{"a list", func(p, j *rogue) error { return j.conn.End(stream.List{}) }, `a frame 'L' \(List\) instead of 'D' \(Data\)`, 0},
		{"the end of all but the frame", func(p, j *rogue) error {
			err := errors.Join(p.put(p.entries[0], p.bodies[p.entries[0]]), p.conn.End(stream.Data{}))
			p.waitForObject()
			j.stdin.Close()
			return err
		}, stream.ErrEnded.Error(), 1},
		{"an object too few", func(p, j *rogue) error {
			return errors.Join(p.conn.End(stream.Data{}), j.conn.End(stream.Data{}))
		}, "has not been sent", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := newVictim(t)
			p, wait := newRogue(t, s, v)
			if err := errors.Join(p.start(), p.list()); err != nil {
				t.Fatal(err)
			}
			j, waitJoined := joinPush(t, s, v, p.secret)
			if _, _, err := stream.Next[stream.Go](j); err != nil {
				t.Fatal(err)
			}
			if err := test.do(p, j); err != nil && test.want == "" {
				t.Error(err)
			}
			stderr, err := wait()
			if joinedErr, err := waitJoined(); err != nil {
				t.Errorf("the receiver that joined: %v\n%s", err, joinedErr)
			}
			if left := v.leftovers(); len(left) != test.left {
				t.Errorf("left: %v", left)
			}
			output(t, "ostree", "--repo="+v.dir, "fsck", "-q")
			if test.want == "" {
				if err != nil {
					t.Errorf("%v\n%s", err, stderr)
				}
				return
			}
			if err == nil || v.refs(t) != v.before || !matches(test.want, stderr) {
				t.Errorf("%v, and it says %q, not %q", err, stderr, test.want)
			}
		})
	}
}

// No more channels than that join.
func TestTooManyChannels(t *testing.T) {
	t.Parallel()
	const most = 15
	s := newLyingSource(t)
	v := newVictim(t)
	p, wait := newRogue(t, s, v)
	if err := errors.Join(p.start(), p.list()); err != nil {
		t.Fatal(err)
	}
	var all []*rogue
	for i := range most + 1 {
		j, waitJoined := joinPush(t, s, v, p.secret)
		if i == most {
			if stderr, err := waitJoined(); err == nil || !strings.Contains(stderr, "15 channels have joined, and no more can") {
				t.Errorf("one too many: %v, %s", err, stderr)
			}
			break
		}
		if _, _, err := stream.Next[stream.Go](j); err != nil {
			t.Fatal(err)
		}
		all = append(all, j)
		defer waitJoined()
	}
	for _, j := range all {
		if err := j.conn.End(stream.Data{}); err != nil {
			t.Error(err)
		}
	}
	if err := p.putAll(nil); err != nil {
		t.Error(err)
	}
	if stderr, err := wait(); err != nil {
		t.Errorf("%v\n%s", err, stderr)
	}
}
