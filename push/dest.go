package push

import (
	"fmt"
	"strconv"
	"strings"
)

// dest is where to push to. user and port are "" and 0 where they are left to
// ssh's configuration.
type dest struct {
	host string
	user string
	port int
	repo string // path on the host
}

// parseDest reads a destination of the form [user@]host:path or
// ssh://[user@]host[:port]/path. An IPv6 address as host is in brackets.
func parseDest(s string) (dest, error) {
	var (
		d   dest
		err error
	)
	// host:///path is a host with an odd path, unless it is called ssh.
	scheme, rest, ok := strings.Cut(s, "://")
	if ok && isScheme(scheme) && (isSSH(scheme) || !strings.HasPrefix(rest, "/")) {
		d, err = parseURLDest(scheme, s)
	} else {
		d, err = parseSCPDest(s)
	}
	if err != nil {
		return dest{}, err
	}
	// Neither may become an option of ssh.
	for _, word := range []string{d.host, d.user} {
		if strings.HasPrefix(word, "-") || strings.ContainsFunc(word, isControl) {
			return dest{}, fmt.Errorf("Invalid destination host %q", word)
		}
	}
	if strings.ContainsRune(d.repo, 0) {
		return dest{}, fmt.Errorf("Invalid destination repo %q", d.repo)
	}
	if strings.HasPrefix(d.repo, "-") {
		d.repo = "./" + d.repo // or it would be an option of the receiver
	}
	return d, nil
}

func isScheme(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("+-.", r))
	})
}

func isSSH(scheme string) bool { return strings.EqualFold(scheme, "ssh") }

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func parseURLDest(scheme, s string) (dest, error) {
	if !isSSH(scheme) {
		return dest{}, fmt.Errorf("Destination scheme %q not allowed", scheme)
	}
	// Not url.Parse: every character of the path stands for itself.
	authority, path, ok := strings.Cut(s[len("ssh://"):], "/")
	if authority == "" {
		return dest{}, fmt.Errorf("Destination host missing")
	}
	if !ok {
		return dest{}, fmt.Errorf("Destination repo missing")
	}
	d := dest{repo: "/" + path}
	if strings.HasPrefix(path, "~") {
		d.repo = path // in a home directory, as git has it
	}
	host, err := d.splitUser(authority)
	if err != nil {
		return dest{}, err
	}
	host, port, hasPort, err := splitBrackets(host)
	if err != nil {
		return dest{}, err
	}
	if host == "" {
		return dest{}, fmt.Errorf("Destination host missing")
	}
	d.host = host
	if hasPort && port != "" {
		if d.port, err = parsePort(port); err != nil {
			return dest{}, err
		}
	}
	return d, nil
}

func parseSCPDest(s string) (dest, error) {
	var d dest
	user, rest := "", s
	// The colon that ends the host is the first one outside of brackets.
	if at := strings.Index(s, "@["); at >= 0 && !strings.Contains(s[:at], ":") {
		user, rest = s[:at+1], s[at+1:]
	}
	host, repo, ok, err := splitBrackets(rest)
	if err != nil {
		return dest{}, err
	}
	host = user + host
	if !ok {
		return dest{}, fmt.Errorf("Destination not in form \"host:repo\"")
	}
	if host == "" {
		return dest{}, fmt.Errorf("Destination host missing")
	}
	if repo == "" {
		return dest{}, fmt.Errorf("Destination repo missing")
	}
	d.repo = repo
	d.host, err = d.splitUser(host)
	return d, err
}

// splitUser takes user@ from the front of host.
func (d *dest) splitUser(host string) (string, error) {
	user, rest, ok := strings.Cut(host, "@")
	if !ok {
		return host, nil
	}
	if user == "" || rest == "" {
		return "", fmt.Errorf("Invalid destination host %s", host)
	}
	d.user = user
	return rest, nil
}

// splitBrackets splits s at the first colon that is not within the brackets
// around an IPv6 address, and drops the brackets.
func splitBrackets(s string) (host, rest string, ok bool, err error) {
	if !strings.HasPrefix(s, "[") {
		host, rest, ok = strings.Cut(s, ":")
		return host, rest, ok, nil
	}
	host, rest, ok = strings.Cut(s[1:], "]")
	if !ok || host == "" || rest != "" && rest[0] != ':' {
		return "", "", false, fmt.Errorf("Invalid destination host %s", s)
	}
	if rest == "" {
		return host, "", false, nil
	}
	return host, rest[1:], true, nil
}

func parsePort(s string) (int, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("Invalid destination port %q", s)
	}
	return int(port), nil
}

// sshHost returns user@host as ssh takes it.
func (d dest) sshHost() string {
	if d.user != "" {
		return d.user + "@" + d.host
	}
	return d.host
}
