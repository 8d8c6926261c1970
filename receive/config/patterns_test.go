package config

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAllowsRef(t *testing.T) {
	for _, test := range []struct {
		patterns, ref string
		want          bool
	}{
		{`["app/*"]`, "app/stable", true},
		{`["app/*"]`, "app/deep/down", false},
		{`["app/*"]`, "app", false},
		{`["app/*"]`, "my-app/stable", false},
		{`["app/**"]`, "app/deep/down", true},
		{`["**"]`, "anything/at/all", true},
		{`["*/x86_64/*"]`, "os/x86_64/stable", true},
		{`["*/x86_64/*"]`, "os/aarch64/stable", false},
		{`["main", "dev-*"]`, "dev-1", true},
		{`["main", "dev-*"]`, "mainline", false},
		{`["{a,b}/?"]`, "b/1", true},
		{`[]`, "main", false},
	} {
		c := mustLoad(t, ".toml", "refs = "+test.patterns).Global()
		if got := c.AllowsRef(test.ref); got != test.want {
			t.Errorf("%s, %s: %v", test.patterns, test.ref, got)
		}
	}
}

func TestCheckURL(t *testing.T) {
	incoming := t.TempDir()
	outside := t.TempDir()
	if err := os.Mkdir(filepath.Join(incoming, "repo"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(incoming, "out")); err != nil {
		t.Fatal(err)
	}
	some := fmt.Sprintf(`["https://*.example.org/repo/**", "http://[2001:db8::1]:8080/a/*", "https://exact.example.com:*", "file://%s/**"]`, incoming)
	for _, test := range []struct {
		patterns, url, want string // "": allowed
	}{
		{"", "http://127.0.0.1:8000", ""},
		{"", "http://127.0.0.1:8000/", ""},
		{"", "http://127.0.0.1/push-0123/", ""},
		{"", "http://localhost:1/x", ""},
		{"", "http://LOCALHOST:1/x", ""},
		{"", "http://[::1]:65535/x", ""},
		{"", "https://127.0.0.1:8000", "URL https://127.0.0.1:8000 is not allowed here"},
		{"", "http://127.0.0.1:8000@example.org/", "it has a user in it"},
		{"", "http://user:password@127.0.0.1/", "it has a user in it"},
		{"", "http://127.0.0.1.example.org/", "is not allowed here"},
		{"", "http://127.0.0.2/", "is not allowed here"},
		{"", "http://2130706433/", "is not allowed here"},
		{"", "http://example.org/http://127.0.0.1", "is not allowed here"},
		{"", "http://localhost.example.org/", "is not allowed here"},
		{"", "http://[::ffff:127.0.0.1]/", "is not allowed here"},
		{"", "file:///srv/repo", "URL file:///srv/repo is not allowed here"},
		{"", "FILE:///srv/repo", "is not allowed here"},
		{"", "/srv/repo", "the scheme is not http, https or file"},
		{"", "gopher://127.0.0.1/", `invalid URL "gopher://127.0.0.1/": the scheme is not http, https or file`},
		{"", "", "the scheme is not http, https or file"},
		{"", "http:127.0.0.1", "it has no //"},
		{"", "http:///x", "the host is missing"},
		{"", "http://127.0.0.1/?a", "it has a query or a fragment"},
		{"", "http://127.0.0.1/?", "it has a query or a fragment"},
		{"", "http://127.0.0.1/#a", "it has a query or a fragment"},
		{"", "http://127.0.0.1:0/", "the port is no number"},
		{"", "http://127.0.0.1:65536/", "the port is no number"},
		{"", "http://127.0.0.1:/", "the port is missing"},
		{"", "http://127.0.0.1:x/", "invalid port"},
		{"", "http://127.0.0.1/../x", "it"},
		{"", "http://127.0.0.1/%2e%2e/x", "its path has . or .. in it"},
		{"", "http://127.0.0.1/a%2Fb", "its path has an escaped / in it"},
		{"", "http://127.0.0.1/%00", "its path has control characters in it"},
		{"", "http://127.0.0.1/a b", "it has characters in it that are to be escaped"},
		{"", "http://127.0.0.1/a\nb", "it has characters in it that are to be escaped"},
		{"", `http://127.0.0.1\@example.org`, "it has characters in it that are to be escaped"},
		{"", "http://127.0.0.1/ä", "it has characters in it that are to be escaped"},
		{"", "http://" + strings.Repeat("a", 10000) + "/", "is not allowed here"},

		{some, "https://builds.example.org/repo", ""},
		{some, "https://builds.example.org/repo/a/b", ""},
		{some, "https://builds.example.org:443/repo/a", ""},
		{some, "https://builds.example.org:8443/repo/a", "is not allowed here"},
		{some, "https://builds.example.org/repository", "is not allowed here"},
		{some, "https://a.b.example.org/repo", "is not allowed here"},
		{some, "https://.example.org/repo", "is not allowed here"},
		{`["https://*"]`, "https://[::1]/", "is not allowed here"},
		{`["https://*"]`, "https://example/", ""},
		{`["http://h/a/"]`, "http://h/a/", ""},
		{some, "https://builds.example.org.evil/repo", "is not allowed here"},
		{some, "http://builds.example.org/repo", "is not allowed here"},
		{some, "http://[2001:db8::1]:8080/a/b", ""},
		{some, "http://[2001:DB8::1]:8080/a/b", ""},
		{some, "http://[2001:db8::1]:8080/a/b/c", "is not allowed here"},
		{some, "http://[2001:db8::2]:8080/a/b", "is not allowed here"},
		{some, "https://exact.example.com:1/", ""},
		{some, "http://127.0.0.1:8000", "is not allowed here"},
		{some, "file://" + incoming + "/repo", ""},
		{some, "file://" + incoming + "/not-yet", ""},
		{some, "file://" + incoming + "/out", "is not allowed here"},
		{some, "file://" + incoming + "/../x", "its path has . or .. in it"},
		{some, "file://" + outside, "is not allowed here"},
		{some, "file://host" + incoming + "/repo", "a file URL has no host"},
		{"[]", "http://127.0.0.1:8000", "is not allowed here"},
	} {
		content := ""
		if test.patterns != "" {
			content = "allowed_urls = " + test.patterns
		}
		c := mustLoad(t, ".toml", content).Global()
		u, err := c.CheckURL(test.url)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.url, err)
		case test.want == "" && u.Scheme != "file" && !c.AllowsURL(u):
			t.Errorf("%s: a redirect to it is not allowed", test.url)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, not %s", test.url, err, test.want)
		case err != nil && len(err.Error()) > 300:
			t.Errorf("%.100s: the error is long: %.100s", test.url, err)
		}
		// A redirect's URL has been parsed and escaped already.
		escape := strings.HasSuffix(test.want, "are to be escaped")
		if parsed, parseErr := url.Parse(test.url); test.want != "" && !escape && parseErr == nil && c.AllowsURL(parsed) {
			t.Errorf("%s: a redirect to it is allowed", test.url)
		}
	}
}

// A redirect never leads to a file.
func TestAllowsURL(t *testing.T) {
	c := mustLoad(t, ".toml", `allowed_urls = ["file:///**", "http://127.0.0.1:*"]`).Global()
	if c.AllowsURL(&url.URL{Scheme: "file", Path: "/etc/passwd"}) {
		t.Error("file")
	}
}

// By default nothing but loopback is allowed, whoever reads the URL afterwards.
func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{"http://127.0.0.1:8000/x", "http://[::1]", "http://localhost@example.org", "http://127.0.0.1#@example.org/"} {
		f.Add(seed)
	}
	p, err := Load(Sources{})
	if err != nil {
		f.Fatal(err)
	}
	c := p.Global()
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := c.CheckURL(raw)
		if err != nil {
			return
		}
		again, err := url.Parse(u.String())
		if err != nil {
			t.Fatalf("%q is %q: %v", raw, u, err)
		}
		host := again.Hostname()
		if ip := net.ParseIP(host); again.Scheme != "http" || !strings.EqualFold(host, "localhost") && (ip == nil || !ip.IsLoopback()) {
			t.Errorf("%q is %q", raw, again)
		}
	})
}

func FuzzYAML(f *testing.F) {
	for _, seed := range []string{"force: yes\n", "repos:\n  a: {b: c}\n", "a: &a [*a]\n<<: *a\n", "- a", "root: !!str 3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) { readYAML("file", []byte(content)) })
}

func FuzzTOML(f *testing.F) {
	for _, seed := range []string{"force = true\n", "[repos.a]\nb = 1\n", "repos = 1", "[[repos.a]]\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) { readTOML("file", []byte(content)) })
}
