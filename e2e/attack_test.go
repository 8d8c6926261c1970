package e2e

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ostree-push/internal/otrepo"
	"ostree-push/ostree"
)

// lie answers a request instead of the honest source, and reports whether it did.
type lie func(w http.ResponseWriter, r *http.Request) bool

// lyingSource is an archive repository with a commit on each of the refs main
// and other, and a server for it.
type lyingSource struct {
	dir   string
	files http.Handler
}

func newLyingSource(t *testing.T) *lyingSource {
	dir := filepath.Join(t.TempDir(), "source")
	if err := otrepo.Init(dir, "archive"); err != nil {
		t.Fatal(err)
	}
	for i, ref := range []string{"main", "other"} {
		tree := t.TempDir()
		// Content that does not compress.
		content := make([]byte, 400_000)
		rand.NewChaCha8([32]byte{byte(i)}).Read(content)
		if err := os.WriteFile(filepath.Join(tree, "file"), content, 0o644); err != nil {
			t.Fatal(err)
		}
		commit := otrepo.Commit{Ref: ref, Dir: tree, Time: time.Unix(1_700_000_000+int64(i), 0)}
		if _, err := commit.Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	output(t, "ostree", "--repo="+dir, "summary", "-u")
	return &lyingSource{dir, http.FileServer(http.Dir(dir))}
}

// serve starts a server that lies.
func (s *lyingSource) serve(t *testing.T, lie lie) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !lie(w, r) {
			s.files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(func() { go server.Close() })
	return server.URL
}

// commitOf returns the checksum of a ref's commit.
func (s *lyingSource) commitOf(t *testing.T, ref string) string {
	return strings.TrimSpace(output(t, "ostree", "--repo="+s.dir, "rev-parse", ref))
}

// object returns the path and the content of the only object of that extension
// that is in the commit of one ref and not of the other, or the commit itself.
func (s *lyingSource) object(t *testing.T, extension, ref string) (path string, content []byte) {
	t.Helper()
	var sum string
	switch extension {
	case "commit":
		sum = s.commitOf(t, ref)
	case "dirtree":
		sum = strings.Fields(output(t, "ostree", "--repo="+s.dir, "ls", "-d", "-C", ref))[4]
	case "filez":
		sum = strings.Fields(output(t, "ostree", "--repo="+s.dir, "ls", "-C", ref, "/file"))[4]
	}
	path = "/objects/" + sum[:2] + "/" + sum[2:] + "." + extension
	content, err := os.ReadFile(s.dir + path)
	if err != nil {
		t.Fatal(err)
	}
	return path, content
}

// replace answers requests for path with content.
func replace(path string, content []byte) lie {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == path {
			w.Write(content)
		}
		return r.URL.Path == path
	}
}

// endless answers requests for path with zeros, for ever.
func endless(path string) lie {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		zeros := make([]byte, 1<<20)
		for {
			if _, err := w.Write(zeros); err != nil {
				return true
			}
		}
	}
}

// bomb is a content object that says it is tiny, and expands to 100 MiB.
func bomb(t *testing.T, like []byte) []byte {
	t.Helper()
	header := 8 + binary.BigEndian.Uint32(like)
	var b bytes.Buffer
	b.Write(like[:8])
	binary.Write(&b, binary.BigEndian, uint64(1))
	b.Write(like[16:header])
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, zeros{}, 100<<20); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestLyingSources has the receiver pull from sources that somebody with a key
// could make up. Each time it says what is wrong, and the repository is as it was.
func TestLyingSources(t *testing.T) {
	t.Parallel()
	s := newLyingSource(t)
	commitPath, _ := s.object(t, "commit", "main")
	_, otherCommit := s.object(t, "commit", "other")
	treePath, tree := s.object(t, "dirtree", "main")
	_, otherTree := s.object(t, "dirtree", "other")
	filePath, file := s.object(t, "filez", "main")
	_, otherFile := s.object(t, "filez", "other")
	summary, err := os.ReadFile(filepath.Join(s.dir, "summary"))
	if err != nil {
		t.Fatal(err)
	}
	rename := func(to string) lie {
		return replace("/summary", bytes.Replace(summary, []byte("main\x00"), []byte(to+"\x00"), 1))
	}
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	trickle := func(path string) lie {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == path {
				w.Write([]byte{0})
				http.NewResponseController(w).Flush()
				<-hang
			}
			return r.URL.Path == path
		}
	}
	elsewhere := 0
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	t.Cleanup(inside.Close)
	insideURL := strings.Replace(inside.URL, "127.0.0.1", "127.0.0.2", 1)

	for _, test := range []struct {
		name string
		lie  lie
		want string // of standard error
	}{
		{"wrong commit in the summary", func(w http.ResponseWriter, r *http.Request) bool {
			raw, err := ostree.ParseChecksum(s.commitOf(t, "main"))
			if err != nil {
				panic(err)
			}
			return replace("/summary", bytes.Replace(summary, raw[:], bytes.Repeat([]byte{7}, 32), 1))(w, r)
		}, "fetch the commits: .*(404|Not Found)"},
		{"another commit under its name", replace(commitPath, otherCommit), "Commit [0-9a-f]{64} is corrupt: its checksum is [0-9a-f]{64}|Corrupted commit"},
		{"no commit", replace(commitPath, []byte("nonsense")), "[Cc]ommit"},
		{"another tree under its name", replace(treePath, otherTree), "[Cc]orrupted dirtree"},
		{"another file under its name", replace(filePath, otherFile), "[Cc]orrupted file object"},
		{"a file cut short", replace(filePath, file[:len(file)/2]), "receive the objects: "},
		{"a file with no content", replace(filePath, nil), "(receive|fetch) the objects: "},
		{"a tree cut short", replace(treePath, tree[:len(tree)-1]), "objects: "},
		{"no tree", func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == treePath {
				http.NotFound(w, r)
			}
			return r.URL.Path == treePath
		}, "fetch the objects: .*404"},
		{"an endless tree", endless(treePath), `the source sends a objects/.*\.dirtree of more than [0-9]+ MiB`},
		{"an endless commit", endless(commitPath), `the source sends a objects/.*\.commit of more than [0-9]+ MiB`},
		{"endless detached metadata", endless(commitPath + "meta"), `the source sends a objects/.*\.commitmeta of more than [0-9]+ MiB`},
		{"an endless summary", endless("/summary"), "the source sends a summary of more than [0-9]+ MiB|exceeded maximum size"},
		{"endless refs", replace("/summary", manyRefs(t, s.dir)), "the source offers 100001 refs, and 100000 are the most"},
		{"a compression bomb", replace(filePath, bomb(t, file)), "it is a compression bomb: it says that it has 1 B, and expands to more than 16 MiB"},
		{"a byte and no more", trickle(filePath), "the source " + silence},
		{"a byte of the summary and no more", trickle("/summary"), "the source " + silence},
		{"a redirect to where it must not go", func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, insideURL+r.URL.Path, http.StatusFound)
			return true
		}, "redirected to " + insideURL + "/[a-z.]+, which is not allowed here"},
		{"a redirect to a file", func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "file://"+s.dir+r.URL.Path, http.StatusFound)
			return true
		}, "redirected to file:///.*, which is not allowed here"},
		{"a ref above", rename("../x"), `invalid ref name "../x"`},
		{"a ref that looks like an option", rename("-rf/"), `invalid ref name "-rf/"`},
		{"a ref at the root", rename("/etc"), `invalid ref name "/etc"`},
		{"a ref with control characters", rename("m\x1b[2"), `invalid ref name "m\\x1b\[2"`},
		{"a ref that ends in a newline", rename("mai\n"), `invalid ref name "mai\\n"`},
		{"a ref with an empty part", rename("a//b"), `invalid ref name "a//b"`},
		{"no summary", replace("/summary", []byte("nonsense")), "The summary is not a valid summary file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			remote := newVictim(t)
			remote.awaits(t, test.want)
			stderr := remote.refuses(t, s.serve(t, test.lie))
			if !regexp.MustCompile(test.want).MatchString(stderr) {
				t.Errorf("it says %q, not %q", stderr, test.want)
			}
			// And an honest push afterwards works.
			remote.configure(t, patience)
			if out, err := remote.receive(s.serve(t, func(http.ResponseWriter, *http.Request) bool { return false })); err != nil {
				t.Errorf("an honest push afterwards: %v\n%s", err, out)
			}
			output(t, "ostree", "--repo="+remote.dir, "fsck", "-q")
		})
	}
	if elsewhere > 0 {
		t.Error("the server inside was asked")
	}
}

// manyRefs is a summary of more refs than anybody has.
func manyRefs(t *testing.T, dir string) []byte {
	t.Helper()
	repo, err := ostree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	refs, err := repo.Refs(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	many := ostree.Refs{}
	for i := range 100_001 {
		many[ostree.Ref(fmt.Sprint("ref-", i))] = refs["main"]
	}
	summary, err := repo.NewSummary(many)
	if err != nil {
		t.Fatal(err)
	}
	return summary
}

// victim is a repository with a ref "below/here" of its own.
type victim struct {
	dir, config string
	before      string
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	v := &victim{dir: filepath.Join(t.TempDir(), "remote")}
	// Not every mode's import is the same: bare inflates.
	if err := otrepo.Init(v.dir, "bare-user"); err != nil {
		t.Fatal(err)
	}
	if _, err := (otrepo.Commit{Ref: "below/here", Dir: t.TempDir()}).Write(v.dir); err != nil {
		t.Fatal(err)
	}
	v.config = filepath.Join(t.TempDir(), "config.toml")
	v.configure(t, patience)
	v.before = v.refs(t)
	return v
}

// configure has the receiver go by those lines.
func (v *victim) configure(t *testing.T, lines ...string) {
	t.Helper()
	if err := os.WriteFile(v.config, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// patience is what any machine takes to send something, however busy it is.
const patience = "timeout = 60"

// silence is what the receiver says at last when nothing comes any more.
const silence = "does not send any more"

// awaits has a receiver that is to say it do so soon.
func (v *victim) awaits(t *testing.T, want string) {
	t.Helper()
	if strings.HasSuffix(want, silence) {
		v.configure(t, "timeout = 1")
	}
}

func (v *victim) refs(t *testing.T) string {
	var all strings.Builder
	for ref := range strings.Lines(output(t, "ostree", "--repo="+v.dir, "refs")) {
		ref = strings.TrimSpace(ref)
		fmt.Fprintln(&all, ref, output(t, "ostree", "--repo="+v.dir, "rev-parse", ref))
	}
	return all.String()
}

// receive runs the receiver, and returns its standard error.
func (v *victim) receive(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ostree-receive", append([]string{v.dir}, args...)...)
	cmd.Env = append(os.Environ(), "OSTREE_RECEIVE_CONF="+v.config)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err := cmd.Run()
	return stderr.String(), err
}

// refuses checks that the receiver fails, and that nothing has come of it.
func (v *victim) refuses(t *testing.T, args ...string) string {
	t.Helper()
	stderr, err := v.receive(args...)
	v.checkRefused(t, stderr, err)
	return stderr
}

// checkRefused checks how a receiver has ended, and what it has left.
func (v *victim) checkRefused(t *testing.T, stderr string, err error) {
	t.Helper()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("the receiver ends with %v\n%s", err, stderr)
	}
	if after := v.refs(t); after != v.before {
		t.Errorf("the refs were\n%s and are\n%s", v.before, after)
	}
	output(t, "ostree", "--repo="+v.dir, "fsck", "-q")
	for _, pattern := range []string{"tmp/ostree-receive-*", "summary"} {
		if left, _ := filepath.Glob(filepath.Join(v.dir, pattern)); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// What is named on the command line is no better.
func TestLyingArguments(t *testing.T) {
	t.Parallel()
	s := newLyingSource(t)
	url := s.serve(t, func(http.ResponseWriter, *http.Request) bool { return false })
	output(t, "ostree", "--repo="+s.dir, "refs", "--create=below", "main")
	output(t, "ostree", "--repo="+s.dir, "refs", "--create=below-not/here", "main")
	output(t, "ostree", "--repo="+s.dir, "summary", "-u")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"a ref above":              {[]string{url, "../../config"}, "Could not find ref ../../config in summary file"},
		"a ref with escapes":       {[]string{url, "a\x1b[2Jb"}, `Could not find ref a\\x1b\[2Jb in summary file`},
		"a directory of a ref":     {[]string{url, "below"}, "refs below and below/here cannot both exist"},
		"all, with a directory":    {[]string{url}, "refs below and below/here cannot both exist"},
		"a file":                   {[]string{"file://" + s.dir, "main"}, "URL file:///.* is not allowed here"},
		"a path":                   {[]string{s.dir, "main"}, "invalid URL"},
		"another host":             {[]string{"http://192.0.2.1/", "main"}, "URL http://192.0.2.1/ is not allowed here"},
		"https":                    {[]string{"https://127.0.0.1/", "main"}, "URL https://127.0.0.1/ is not allowed here"},
		"another host with a user": {[]string{"http://127.0.0.1@192.0.2.1/", "main"}, "invalid URL"},
	} {
		t.Run(name, func(t *testing.T) {
			stderr := newVictim(t).refuses(t, test.args...)
			if !regexp.MustCompile(test.want).MatchString(stderr) {
				t.Errorf("it says %q, not %q", stderr, test.want)
			}
		})
	}
}
