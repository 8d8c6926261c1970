package push

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/ostree"
	"ostree-push/report"
)

// source is what is pushed: refs of a repository, as they were when the source was made. It serves the repository over HTTP,
// what a pull reads of it, below a path that others cannot guess.
type source struct {
	repo    *ostree.Repo
	refs    ostree.Refs
	digests digests
	secret  string // the first segment of the path
	config  []byte
	summary []byte // of what is served
	// signature is the summary's, if the summary is the repository's own.
	signature []byte
	dirs      []string     // of the repository and those it takes objects from
	warn      func(string) // says what is wrong with the repository

	once      sync.Once
	requested chan struct{} // closed at the first request
	objects   atomic.Int64
	bytes     atomic.Int64
}

func newSource(repo *ostree.Repo, refs ostree.Refs, digests digests, warn func(string)) (*source, error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	return &source{
		repo:      repo,
		refs:      refs,
		digests:   digests,
		secret:    report.EventsPrefix + hex.EncodeToString(random[:]),
		config:    pullConfig(repo),
		dirs:      append([]string{repo.Path()}, repo.Parents()...),
		warn:      warn,
		requested: make(chan struct{}),
	}, nil
}

// pullConfig returns a config with the settings that a pull looks at, and no
// others: the real one may hold credentials. The mode is always archive, as
// that is how objects are served.
func pullConfig(repo *ostree.Repo) []byte {
	config := "[core]\nrepo_version=1\nmode=archive-z2\n"
	for _, key := range []string{"collection-id", "tombstone-commits", "indexed-deltas"} {
		if value := repo.CoreOption(key); value != "" {
			config += fmt.Sprintf("%s=%s\n", key, value)
		}
	}
	return []byte(config)
}

// loadSummary is for whoever serves the source, before that. It takes the repository's summary if it shows the current refs, and
// otherwise makes one. The repository itself is left alone: it may be
// read-only, and rewriting a signed summary would break its signature.
func (s *source) loadSummary() error {
	path := filepath.Join(s.repo.Path(), "summary")
	if file, err := os.ReadFile(path); err == nil {
		if refs, err := ostree.ParseSummary(file); err == nil && showsLocal(refs, s.refs) {
			s.summary = file
			s.signature, _ = os.ReadFile(path + ".sig")
			return nil
		}
	}
	summary, err := s.repo.NewSummary(s.refs)
	if err != nil {
		return fmt.Errorf("make a summary of %s: %w", s.repo.Path(), err)
	}
	s.summary = summary
	return nil
}

// showsLocal reports whether summary lists the local refs, and nothing else: a
// receiver that is asked for all refs would take the others too.
func showsLocal(summary, local ostree.Refs) bool {
	if len(summary) != len(local) {
		return false
	}
	for ref, sum := range local {
		if summary[ref] != sum {
			return false
		}
	}
	return true
}

// url returns the URL of the source on a port of 127.0.0.1.
func (s *source) url(port int) string {
	return fmt.Sprintf("http://127.0.0.1:%d/%s", port, s.secret)
}

// serve answers requests until the function it returns is called.
func (s *source) serve(listener net.Listener) (stop func()) {
	server := &http.Server{
		Handler:           http.HandlerFunc(s.handle),
		ReadHeaderTimeout: time.Minute,
		// A client that goes away in mid-answer is not worth a line.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(listener)
	}()
	return func() {
		server.Close()
		<-done
	}
}

func (s *source) totals() report.Totals {
	return report.Totals{Objects: int(s.objects.Load()), Bytes: s.bytes.Load()}
}

var (
	objectPath = regexp.MustCompile(`\Aobjects/([0-9a-f]{2})/([0-9a-f]{62})\.(commit|commitmeta|dirtree|dirmeta|filez|tombstone-commit)\z`)
	deltaPath  = regexp.MustCompile(`\A(?:deltas/[A-Za-z0-9+_]{2}/[A-Za-z0-9+_-]{41,85}/(?:superblock|[0-9]{1,9})|delta-indexes/[A-Za-z0-9+_]{2}/[A-Za-z0-9+_-]{41}\.index)\z`)
)

func (s *source) handle(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/"+s.secret+"/")
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.NotFound(w, r)
		return
	}
	s.once.Do(func() { close(s.requested) })
	w.Header().Set("Content-Type", "application/octet-stream")

	switch ref, isRef := strings.CutPrefix(path, "refs/heads/"); {
	case path == "config":
		s.send(w, r, s.config)
	case path == "summary":
		s.send(w, r, s.summary)
	case path == "summary.sig" && s.signature != nil:
		s.send(w, r, s.signature)
	case isRef:
		sum, ok := s.refs[ostree.Ref(ref)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		s.send(w, r, []byte(sum.String()+"\n"))
	case deltaPath.MatchString(path):
		s.sendFile(w, r, path)
	default:
		s.handleObject(w, r, path)
	}
}

func (s *source) handleObject(w http.ResponseWriter, r *http.Request, path string) {
	match := objectPath.FindStringSubmatch(path)
	if match == nil {
		http.NotFound(w, r)
		return
	}
	var sent bool
	if match[3] == "filez" && s.repo.Mode() != ostree.ModeArchive {
		sum, err := ostree.ParseChecksum(match[1] + match[2])
		if err != nil {
			s.notFound(w, r, path, err)
			return
		}
		sent = s.sendContent(w, r, path, sum)
	} else {
		sent = s.sendFile(w, r, path)
	}
	if sent {
		s.objects.Add(1)
	}
}

func (s *source) send(w http.ResponseWriter, r *http.Request, data []byte) {
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	if r.Method == http.MethodHead {
		return
	}
	n, _ := w.Write(data)
	s.bytes.Add(int64(n))
}

// sendFile sends a file of the repository, which must be a regular one: its
// path, which has been checked, leads nowhere else.
func (s *source) sendFile(w http.ResponseWriter, r *http.Request, path string) bool {
	f, err := s.open(path)
	if err != nil {
		s.notFound(w, r, path, err)
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		s.notFound(w, r, path, err)
		return false
	}
	w.Header().Set("Content-Length", fmt.Sprint(info.Size()))
	if r.Method == http.MethodHead {
		return false
	}
	n, err := io.Copy(w, f)
	s.bytes.Add(n)
	return err == nil
}

// open looks for a file in the repository, and in those it takes objects from.
func (s *source) open(path string) (f *os.File, err error) {
	for _, dir := range s.dirs {
		f, err = os.OpenFile(filepath.Join(dir, path), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return f, err
}

// size returns the size of a file that open opens, 0 if there is none.
func (s *source) size(path string) int64 {
	for _, dir := range s.dirs {
		if info, err := os.Lstat(filepath.Join(dir, path)); err == nil {
			return info.Size()
		}
	}
	return 0
}

// notFound answers that path cannot be had, and says why if it should be there.
func (s *source) notFound(w http.ResponseWriter, r *http.Request, path string, err error) {
	// Most commits have no detached metadata, and deltas come and go.
	optional := strings.HasSuffix(path, ".commitmeta") || strings.HasPrefix(path, "delta")
	if !optional || !errors.Is(err, os.ErrNotExist) {
		s.warn(fmt.Sprintf("local repository: %v", err))
	}
	http.NotFound(w, r)
}

// sendContent sends a content object of a repository that does not store it in
// the form that is served.
func (s *source) sendContent(w http.ResponseWriter, r *http.Request, path string, sum ostree.Checksum) bool {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	content, err := s.repo.OpenContent(ctx, sum)
	if err != nil {
		s.notFound(w, r, path, err)
		return false
	}
	defer content.Close()
	if r.Method == http.MethodHead {
		return false
	}
	n, err := io.Copy(w, content)
	s.bytes.Add(n)
	if err != nil {
		s.warn(fmt.Sprintf("local repository: object %s: %v", sum, err))
		// The length was not announced; only a broken connection says that
		// this is not all.
		panic(http.ErrAbortHandler)
	}
	return true
}
