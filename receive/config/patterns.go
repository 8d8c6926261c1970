package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"ostree-push/report"
)

// defaultURLs are the URLs that a push uses: HTTP on loopback.
var defaultURLs = []string{"http://127.0.0.1:*", "http://[::1]:*", "http://localhost:*"}

// urlPattern is a pattern of URLs: SCHEME://HOST[:PORT][/PATH]. Each part is
// matched by itself, since a pattern for the whole would take what is before
// an @ for the host.
type urlPattern struct {
	scheme string
	host   *regexp.Regexp // lower case, without the brackets of IPv6
	port   string         // "*", or a number
	path   string         // for doublestar; "" is any
}

// urlPatternParts leaves the parts of a pattern apart; net/url would not have a
// * for a port.
var urlPatternParts = regexp.MustCompile(`\A([a-z]+)://(\[[0-9A-Fa-f:.]+\]|[-.*_0-9A-Za-z]*)(?::(\*|[1-9][0-9]{0,4}))?(/[^\x00-\x20\x7f]*)?\z`)

func parseURLPattern(s string) (urlPattern, error) {
	parts := urlPatternParts.FindStringSubmatch(s)
	if parts == nil {
		return urlPattern{}, errors.New("is not of the form SCHEME://HOST[:PORT][/PATH]")
	}
	p := urlPattern{scheme: parts[1], port: parts[3], path: parts[4]}
	host := strings.ToLower(strings.Trim(parts[2], "[]"))
	switch {
	case defaultPorts[p.scheme] == "" && p.scheme != "file":
		return urlPattern{}, errors.New("the scheme is not http, https or file")
	case p.scheme == "file" && (host != "" || p.port != ""):
		return urlPattern{}, errors.New("a file URL has no host: write file:///PATH")
	case p.scheme != "file" && host == "":
		return urlPattern{}, errors.New("the host is missing")
	case strings.HasPrefix(parts[2], "[") && (net.ParseIP(host) == nil || !strings.Contains(host, ":")):
		return urlPattern{}, errors.New("the host is no IPv6 address")
	case p.path != "" && (!doublestar.ValidatePattern(p.path) || path.Clean(p.path) != strings.TrimSuffix(p.path, "/") && p.path != "/"):
		return urlPattern{}, errors.New("the pattern of the path is invalid")
	}
	if n, _ := strconv.Atoi(p.port); n > 65535 {
		return urlPattern{}, errors.New("the port is no number from 1 to 65535")
	}
	if len(p.path) > 1 {
		p.path = strings.TrimSuffix(p.path, "/")
	}
	if p.port == "" {
		p.port = defaultPorts[p.scheme]
	}
	// A * is a part of the name between two dots.
	host = strings.ReplaceAll(regexp.QuoteMeta(host), `\*`, `[^.:]+`)
	p.host = regexp.MustCompile(`\A` + host + `\z`)
	return p, nil
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

func (p urlPattern) matches(u *url.URL) bool {
	port := u.Port()
	if port == "" {
		port = defaultPorts[u.Scheme]
	}
	return p.scheme == u.Scheme &&
		p.host.MatchString(strings.ToLower(u.Hostname())) &&
		(p.port == "*" || p.port == port) &&
		(p.path == "" || doublestar.MatchUnvalidated(p.path, path.Clean("/"+u.Path)))
}

// CheckURL parses the URL of a source. It is an error if a pull from it is not
// allowed, or if somebody else might read it another way.
func (c *Config) CheckURL(raw string) (*url.URL, error) {
	const most = 200
	shown := report.Shortened(raw, most)
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == '\\' || r >= 0x7f }) {
		return nil, fmt.Errorf("invalid URL %q: it has characters in it that are to be escaped", shown)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("invalid URL %q: %w", shown, errors.Unwrap(err))
	}
	if err := checkURL(u); err != nil {
		return nil, fmt.Errorf("invalid URL %q: %w", shown, err)
	}
	if !c.allowsURL(u) {
		return nil, fmt.Errorf("URL %s is not allowed here", report.Printable(shown))
	}
	return u, nil
}

// AllowsURL reports whether a pull may go on to u, when it is redirected.
func (c *Config) AllowsURL(u *url.URL) bool {
	return u.Scheme != "file" && checkURL(u) == nil && c.allowsURL(u)
}

// checkURL returns an error if u is no plain URL of a repository.
func checkURL(u *url.URL) error {
	switch u.Scheme {
	case "http", "https", "file":
	default:
		return errors.New("the scheme is not http, https or file")
	}
	switch {
	case u.Opaque != "":
		return errors.New("it has no //")
	case u.User != nil:
		return errors.New("it has a user in it")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("it has a query or a fragment")
	case u.Scheme == "file" && u.Host != "":
		return errors.New("a file URL has no host")
	case u.Scheme != "file" && u.Hostname() == "":
		return errors.New("the host is missing")
	case strings.ContainsFunc(u.Path, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f }):
		return errors.New("its path has control characters in it")
	case strings.Contains(strings.ToLower(u.RawPath), "%2f"):
		return errors.New("its path has an escaped / in it")
	}
	if strings.HasSuffix(u.Host, ":") {
		return errors.New("the port is missing")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return errors.New("the port is no number from 1 to 65535")
		}
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if part == "." || part == ".." {
			return errors.New("its path has . or .. in it")
		}
	}
	return nil
}

func (c *Config) allowsURL(u *url.URL) bool {
	if !c.matchesURL(u) {
		return false
	}
	if u.Scheme != "file" {
		return true
	}
	// A link must not lead out of what is allowed.
	real, err := filepath.EvalSymlinks(u.Path)
	return err != nil || c.matchesURL(&url.URL{Scheme: "file", Path: real})
}

func (c *Config) matchesURL(u *url.URL) bool {
	for _, p := range c.urls {
		if p.matches(u) {
			return true
		}
	}
	return false
}

// AllowsRef reports whether ref may be received.
func (c *Config) AllowsRef(ref string) bool {
	return matchesAny(c.refs, ref) && (len(c.limit) == 0 || matchesAny(c.limit, ref))
}

func matchesAny(patterns []string, ref string) bool {
	for _, p := range patterns {
		if doublestar.MatchUnvalidated(p, ref) {
			return true
		}
	}
	return false
}

// CheckRefPattern returns an error if s is no pattern of refs.
func CheckRefPattern(s string) error {
	if s == "" || strings.ContainsRune(s, 0) || !doublestar.ValidatePattern(s) {
		return fmt.Errorf("%s is not a valid pattern", bounded(s))
	}
	return nil
}
