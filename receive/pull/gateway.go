package pull

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
)

// gateway stands between libostree and the source, since libostree goes wherever
// the source redirects it to: it fetches for libostree the files of a
// repository, and from allowed URLs only. It listens on loopback, below a path
// that only this process knows.
type gateway struct {
	url    string // of the source, for libostree
	source *url.URL
	secret string
	server *http.Server
	client *http.Client

	mu   sync.Mutex
	last error // why the source could not be reached
	bad  error // what it has sent that nobody sends by mistake
}

// maxRedirects is how often one request may be redirected.
const maxRedirects = 5

// maxHeaders bounds the headers of a source's response, in bytes.
const maxHeaders = 64 << 10

// fetches is how many requests libostree makes at a time
// (_OSTREE_MAX_OUTSTANDING_FETCHER_REQUESTS).
const fetches = 8

// openGateway starts a gateway to source, which goes on to the URLs that allowed
// allows. No connection is waited for longer than timeout; how long an answer may take is watched where it is
// waited for (stallWatch).
func openGateway(source *url.URL, allowed func(*url.URL) bool, timeout time.Duration) (*gateway, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gateway{source: source, secret: "/" + rand.Text()}
	g.url = "http://" + listener.Addr().String() + g.secret
	g.client = &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: timeout}).DialContext,
			TLSHandshakeTimeout:    timeout,
			MaxResponseHeaderBytes: maxHeaders,
			MaxIdleConnsPerHost:    fetches,
			// Objects are compressed already, and what the source says is
			// compressed is not to be expanded here.
			DisableCompression: true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return errors.New("redirected too often")
			}
			if !allowed(req.URL) {
				return fmt.Errorf("redirected to %s, which is not allowed here", req.URL.Redacted())
			}
			req.Header.Del("Referer")
			return nil
		},
	}
	g.server = &http.Server{
		Handler:           http.HandlerFunc(g.serve),
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: time.Minute,
	}
	go g.server.Serve(listener)
	return g, nil
}

// close ends all requests.
func (g *gateway) close() {
	g.server.Close()
	g.client.CloseIdleConnections()
}

// isRepositoryFile reports whether path is one of the files that a pull by
// checksum, without static deltas, reads.
func isRepositoryFile(path string) bool {
	switch path {
	case "config", "summary", "summary.sig":
		return true
	}
	rest, ok := strings.CutPrefix(path, "objects/")
	dir, name, ok2 := strings.Cut(rest, "/")
	return ok && ok2 && len(dir) == 2 && !strings.Contains(name, "/") && !strings.Contains(path, "..")
}

func (g *gateway) serve(w http.ResponseWriter, req *http.Request) {
	path, ok := strings.CutPrefix(req.URL.Path, g.secret+"/")
	if !ok || req.Method != http.MethodGet || !isRepositoryFile(path) {
		http.NotFound(w, req)
		return
	}
	if g.hostile() != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if err := g.fetch(req.Context(), w, path); err != nil {
		// Part of the response may have been sent already: ending the
		// connection is what tells libostree.
		panic(http.ErrAbortHandler)
	}
}

// fetch hands on the source's response.
func (g *gateway) fetch(ctx context.Context, w http.ResponseWriter, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.source.JoinPath(path).String(), nil)
	if err != nil {
		return err
	}
	resp, err := g.client.Do(req)
	if err != nil {
		g.fail(path, err)
		w.WriteHeader(http.StatusBadGateway)
		return nil
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		// A commit without detached metadata is nothing to be told of.
		if !strings.HasSuffix(path, ".commitmeta") {
			g.fail(path, errors.New(resp.Status))
		}
		w.WriteHeader(resp.StatusCode)
		return nil
	}
	if resp.ContentLength >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	return g.copy(w, resp, path)
}

// fetchTo writes a file of the source's repository.
func (g *gateway) fetchTo(ctx context.Context, w io.Writer, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.source.JoinPath(path).String(), nil)
	if err != nil {
		return err
	}
	resp, err := g.client.Do(req)
	if err != nil {
		if urlErr := (*url.Error)(nil); errors.As(err, &urlErr) {
			err = urlErr.Err // the URL may have a secret in it
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the source answers %s", resp.Status)
	}
	return g.copy(w, resp, path)
}

// copy hands on the body of a response, as long as it is within bounds.
func (g *gateway) copy(w io.Writer, resp *http.Response, path string) error {
	body := io.Reader(resp.Body)
	if limit := quarantine.MaxSize(path); limit >= 0 {
		body = &boundedReader{body, limit, fmt.Errorf("the source sends a %s of more than %s", path, humanize.IBytes(uint64(limit)))}
	}
	if strings.HasSuffix(path, ".filez") && !quarantine.Harmless(resp.ContentLength) {
		check := quarantine.NewInflateCheck()
		body = io.TeeReader(body, check)
		_, err := io.Copy(w, body)
		if err2 := check.Close(); err2 != nil {
			return g.accuse(fmt.Errorf("%s: %w", path, err2))
		}
		return err
	}
	_, err := io.Copy(w, body)
	if tooLarge := (*boundError)(nil); errors.As(err, &tooLarge) {
		return g.accuse(tooLarge.err)
	}
	return err
}

// accuse ends all dealings with the source.
func (g *gateway) accuse(err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bad == nil {
		g.bad = err
	}
	return err
}

// hostile returns what the source has sent that nobody sends by mistake.
func (g *gateway) hostile() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bad
}

// fail keeps why path could not be fetched, for explain.
func (g *gateway) fail(path string, err error) {
	// The URL in the error may have a secret in it.
	if urlErr := (*url.Error)(nil); errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = fmt.Errorf("fetch %s from %s: %w", path, g.source.Host, err)
}

// serverReturned is what libostree says of a response that is not the file it has asked for.
var serverReturned = regexp.MustCompile(`\b[45][0-9][0-9]\b`)

// explain returns an error of libostree in terms of the source.
func (g *gateway) explain(err error) error {
	var e *ostree.Error
	if !errors.As(err, &e) {
		return err
	}
	if bad := g.hostile(); bad != nil {
		return bad
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last != nil && serverReturned.MatchString(e.Message) {
		return g.last
	}
	if strings.Contains(e.Message, g.url) {
		return &ostree.Error{Domain: e.Domain, Code: e.Code, Message: strings.ReplaceAll(e.Message, g.url, g.source.Redacted())}
	}
	return err
}
