package pull

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"ostree-push/ostree"
)

// serveFunc serves with f, and returns the URL.
func serveFunc(t *testing.T, f http.HandlerFunc) *url.URL {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// through opens a gateway to source, which may redirect to allowed.
func through(t *testing.T, source *url.URL, allowed ...*url.URL) *gateway {
	t.Helper()
	g, err := openGateway(source, func(u *url.URL) bool {
		for _, a := range allowed {
			if u.Host == a.Host {
				return true
			}
		}
		return u.Host == source.Host
	}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	return g
}

func get(t *testing.T, target string) (status int, body string, err error) {
	t.Helper()
	resp, err := http.Get(target)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(content), err
}

// A pusher's server must not be able to send the receiver on, to a server in
// there that the pusher cannot reach.
func TestGatewayRedirects(t *testing.T) {
	asked := 0
	inside := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.Header.Get("Referer") != "" {
			t.Errorf("the source is given away: %v", r.Header)
		}
		fmt.Fprint(w, "secret")
	})
	source := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/repo/config":
			http.Redirect(w, r, inside.String()+"/x", http.StatusFound)
		case "/repo/summary":
			http.Redirect(w, r, "/elsewhere", http.StatusMovedPermanently)
		case "/repo/summary.sig":
			http.Redirect(w, r, "/repo/summary.sig", http.StatusFound)
		case "/elsewhere":
			fmt.Fprint(w, "content")
		}
	}).JoinPath("repo")

	g := through(t, source)
	if status, body, err := get(t, g.url+"/config"); status != http.StatusBadGateway || strings.Contains(body, "secret") {
		t.Errorf("redirected: %d %q %v", status, body, err)
	}
	if asked != 0 {
		t.Error("it went to the server inside")
	}
	failed := &ostree.Error{Message: "While fetching " + g.url + "/config: Server returned HTTP 502"}
	if err := g.explain(failed); err == nil || !strings.Contains(err.Error(), "redirected to "+inside.String()+"/x, which is not allowed here") {
		t.Errorf("explained: %v", err)
	}
	if status, body, err := get(t, g.url+"/summary"); status != http.StatusOK || body != "content" {
		t.Errorf("redirected to itself: %d %q %v", status, body, err)
	}
	if status, _, _ := get(t, g.url+"/summary.sig"); status != http.StatusBadGateway {
		t.Errorf("redirected for ever: %d", status)
	}

	if status, body, err := get(t, through(t, source, inside).url+"/config"); status != http.StatusOK || body != "secret" {
		t.Errorf("redirected to what is allowed: %d %q %v", status, body, err)
	}
}

// What is no file of a repository is not asked for, and only this process asks.
func TestGatewayPaths(t *testing.T) {
	source := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.URL.Path)
	})
	g := through(t, source)
	for path, want := range map[string]bool{
		"/config":                true,
		"/objects/00/name.filez": true,
		"/objects/00/../config":  false,
		"/objects/00":            false,
		"/objects/000/name":      false,
		"/objects/00/a/b":        false,
		"/refs/heads/main":       false,
		"/":                      false,
		"":                       false,
		"/%2e%2e/config":         false,
	} {
		req, err := http.NewRequest(http.MethodGet, g.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = req.URL.Path + path // as it is
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := resp.StatusCode == http.StatusOK; got != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if status, _, _ := get(t, strings.Replace(g.url, g.secret, "", 1)+"/config"); status != http.StatusNotFound {
		t.Errorf("without the secret: %d", status)
	}
	resp, err := http.Post(g.url+"/config", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

// A file that is cut short must not look whole.
func TestGatewayTruncated(t *testing.T) {
	source := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/config" {
			w.Header().Set("Content-Length", "1000")
		}
		fmt.Fprint(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	g := through(t, source)
	for _, path := range []string{"/config", "/summary"} {
		if status, body, err := get(t, g.url+path); err == nil {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
}

// Errors speak of the source, not of the gateway, and of no secret in its path.
func TestGatewayExplains(t *testing.T) {
	source := serveFunc(t, http.NotFound)
	g := through(t, source)
	missing := &ostree.Error{Domain: "g-io-error-quark", Code: 1, Message: "While fetching " + g.url + "/objects/x: Server returned HTTP 404"}
	err := g.explain(missing)
	if !errors.Is(err, ostree.ErrNotFound) || err.Error() != "While fetching "+source.String()+"/objects/x: Server returned HTTP 404" {
		t.Errorf("%v", err)
	}

	closed := serveFunc(t, http.NotFound).JoinPath("push-secret")
	g = through(t, closed)
	server := httptest.NewServer(nil)
	server.Close()
	g.source, _ = url.Parse(server.URL + "/push-secret")
	if status, _, err := get(t, g.url+"/summary"); status != http.StatusBadGateway {
		t.Errorf("%d %v", status, err)
	}
	err = g.explain(&ostree.Error{Message: "Server returned HTTP 502"})
	if !strings.Contains(err.Error(), "fetch summary from 127.0.0.1:") || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "push-secret") {
		t.Errorf("%v", err)
	}
}

func BenchmarkGateway(b *testing.B) {
	content := make([]byte, 5000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(content) }))
	defer server.Close()
	source, err := url.Parse(server.URL)
	if err != nil {
		b.Fatal(err)
	}
	g, err := openGateway(source, func(*url.URL) bool { return true }, time.Minute)
	if err != nil {
		b.Fatal(err)
	}
	defer g.close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: fetches}}
	for name, base := range map[string]string{"direct": server.URL, "through": g.url} {
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(fetches / 2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					resp, err := client.Get(base + "/objects/00/x.filez")
					if err != nil {
						b.Error(err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		})
	}
}
