// Package config is the receiver's policy: what configuration files, in YAML or
// TOML, say about receiving into a repository.
//
// The YAML files are those of the Python ostree-receive, and mean the same. The
// options are in options.go.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"ostree-push/report"
)

// Config is the policy for one repository, or for those that have none of their
// own. What the options mean is in docs/examples/ostree-receive.toml.
type Config struct {
	Root               string
	GPGSign            []string // key ids
	GPGHomedir         string
	GPGVerify          bool
	GPGTrustedKeys     string // file
	SignType           string
	SignKeyfiles       []string
	SignVerify         bool
	SignTrustedKeyfile string
	Update             bool
	UpdateHook         []string // split into words; nil: none
	LogLevel           report.Level
	LogLevelSet        bool          // a file says so
	AuditLog           string        // "syslog" or a file; "": none
	Timeout            time.Duration // of a source that does not send
	Force              bool
	DryRun             bool
	AllowForce         bool
	AllowNoUpdate      bool
	AllowPromotion     bool // of signed commits that are bound to another ref
	Protocol0          bool

	refs   []string // patterns
	limit  []string // patterns of a limit; nil: none
	urls   []urlPattern
	values settings
	from   Sources
}

// Policy is what all files together say.
type Policy struct {
	global   *Config
	repos    []repoSettings
	warnings []string
}

// Sources says which files there are.
type Sources struct {
	// Only is the only file, if it is set.
	Only string
	// Dirs have the files ostree-receive.conf and ostree-receive.toml, and keys.
	Dirs []string
	// Restricted is set where the restricted shell runs the receiver, for a pusher: there
	// some options have another default.
	Restricted bool
}

// RestrictedEnv is the variable in the environment by which the restricted shell says so. It is not
// empty then, whatever a client has sent.
const RestrictedEnv = "OSTREE_RECEIVE_RESTRICTED"

// baseName is the name of the files, without extension.
const baseName = "ostree-receive"

// OnlyEnv is the variable in the environment that names the only file.
const OnlyEnv = "OSTREE_RECEIVE_CONF"

// DefaultSources are the system's files, then the user's; or the one that
// OSTREE_RECEIVE_CONF names. Whether somebody is restricted is in the environment, too.
func DefaultSources() Sources {
	s := Sources{
		Only:       os.Getenv(OnlyEnv),
		Dirs:       []string{"/etc/ostree"},
		Restricted: os.Getenv(RestrictedEnv) != "",
	}
	// https://specifications.freedesktop.org/basedir-spec/latest/
	user := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(user) {
		home, err := os.UserHomeDir()
		if err != nil {
			return s
		}
		user = filepath.Join(home, ".config")
	}
	s.Dirs = append(s.Dirs, filepath.Join(user, "ostree"))
	return s
}

func (s Sources) files() []string {
	if s.Only != "" {
		return []string{s.Only}
	}
	var files []string
	for _, dir := range s.Dirs {
		files = append(files, filepath.Join(dir, baseName+".conf"), filepath.Join(dir, baseName+".toml"))
	}
	return files
}

// Load reads the files that are there. Of what several say, the last one wins,
// option by option. Errors begin with FILE:LINE where that is known.
func Load(s Sources) (*Policy, error) {
	p := &Policy{}
	merged := settings{}
	for _, file := range s.files() {
		content, err := os.ReadFile(file)
		if missing(err) {
			if file == s.Only {
				p.warnings = append(p.warnings, fmt.Sprintf("OSTREE_RECEIVE_CONF is %s, which does not exist", report.Printable(file)))
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		read := readYAML
		if filepath.Ext(file) == ".toml" {
			read = readTOML
		}
		doc, err := read(file, content)
		if err != nil {
			return nil, err
		}
		p.warnings = append(p.warnings, doc.warnings...)
		merged.override(doc.options)
		if doc.hasRepos {
			p.repos = doc.repos
		}
	}
	var err error
	p.global, err = newConfig(merged, s)
	return p, err
}

// missing reports whether err says that there is no such file.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// Warnings are what is to be said about the files, a line each.
func (p *Policy) Warnings() []string { return p.warnings }

// Root returns the directory that all repositories are below, "" if there is none.
func (p *Policy) Root() string { return p.global.Root }

// Global returns the policy for repositories that have none of their own.
func (p *Policy) Global() *Config {
	c, err := newConfig(p.global.values, p.global.from)
	if err != nil {
		panic(err) // it has been made once
	}
	return c
}

// For returns the policy for the repository at the path repo. Two entries of
// repos for it are an error.
func (p *Policy) For(repo string) (*Config, error) {
	info, err := os.Stat(repo)
	if err != nil {
		return nil, err
	}
	var own *repoSettings
	for i := range p.repos {
		entry := &p.repos[i]
		path := p.pathOf(entry)
		// What the account may not look at, it cannot receive into either.
		other, err := os.Stat(path)
		if err != nil || !os.SameFile(info, other) {
			continue
		}
		if own != nil {
			return nil, fmt.Errorf("%s: repos.%q is the same repository as repos.%q (%s)", entry.at, entry.path, own.path, own.at)
		}
		own = entry
	}
	merged := settings{}
	merged.override(p.global.values)
	if own != nil {
		merged.override(own.options)
	}
	return newConfig(merged, p.global.from)
}

// pathOf returns the path of the repository that an entry is for.
func (p *Policy) pathOf(entry *repoSettings) string {
	if filepath.IsAbs(entry.path) {
		return entry.path
	}
	return filepath.Join(p.Root(), entry.path)
}

// newConfig makes a Config of values that have been checked.
func newConfig(values settings, from Sources) (*Config, error) {
	c := &Config{values: values, from: from}
	for _, o := range options() {
		v, ok := values[o.name]
		if !ok {
			v = o.preset(from)
		}
		if err := o.set(c, v.v); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", v.at, o.name, err)
		}
	}
	_, c.LogLevelSet = values["log_level"]
	// They may be from different files, and for different repositories.
	c.Force = c.Force && c.AllowForce
	return c, nil
}

// OnlyFile returns the only file that the configuration was to be read from, "" if it was not one.
func (c *Config) OnlyFile() string { return c.from.Only }

// Limit narrows the policy: to refs that also match one of the patterns, unless
// there are none, and to receives that are not forced.
func (c *Config) Limit(refs []string, noForce bool) error {
	for _, pattern := range refs {
		if err := CheckRefPattern(pattern); err != nil {
			return err
		}
	}
	c.limit = refs
	if noForce {
		c.AllowForce, c.Force = false, false
	}
	return nil
}

// signTypes are the names that may be part of the name of a file.
var signTypes = regexp.MustCompile(`\A[a-z0-9-]+\z`)

// KeyProblems is FindKeys with all that is wrong.
func (c *Config) KeyProblems() []Problem {
	var problems []Problem
	add := func(option string, err error) {
		if err != nil {
			problems = append(problems, Problem{option, err})
		}
	}
	add("gpg_homedir", checkKey("gpg_homedir directory", c.GPGHomedir, true))
	add("gpg_trustedkeys", checkKey("gpg_trustedkeys keyring", c.GPGTrustedKeys, false))
	for _, file := range c.SignKeyfiles {
		add("sign_keyfiles", checkKey("sign_keyfiles keyfile", file, false))
	}
	add("sign_trustedkeyfile", checkKey("sign_trustedkeyfile keyfile", c.SignTrustedKeyfile, false))
	add("gpg_trustedkeys", c.findKey("gpg_trustedkeys", &c.GPGTrustedKeys, baseName+"-trustedkeys.gpg"))
	if !signTypes.MatchString(c.SignType) {
		add("sign_type", fmt.Errorf("sign_type %q is no name of a signature system", c.SignType))
		return problems
	}
	add("sign_trustedkeyfile", c.findKey("sign_trustedkeyfile", &c.SignTrustedKeyfile, baseName+"-trustedkeyfile."+c.SignType))
	return problems
}

// checkKey returns an error if a file or directory of keys, which may be "", is
// none.
func checkKey(what, path string, dir bool) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case missing(err):
		return fmt.Errorf("%s %q does not exist", what, path)
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case dir && !info.IsDir():
		return fmt.Errorf("%s %q is no directory", what, path)
	case !dir && !info.Mode().IsRegular():
		return fmt.Errorf("%s %q is no regular file", what, path)
	}
	return nil
}

// findKey sets a file that is not configured to the first one of that name. One
// that cannot be looked at is an error, not one less.
func (c *Config) findKey(option string, file *string, name string) error {
	if *file != "" {
		return nil
	}
	for _, dir := range c.from.Dirs {
		path := filepath.Join(dir, name)
		_, err := os.Stat(path)
		if missing(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", option, err)
		}
		if err := checkKey(option, path, false); err != nil {
			return err
		}
		*file = path
		values := settings{}
		values.override(c.values)
		values[option] = value{v: path, at: place{found: true}}
		c.values = values
		return nil
	}
	return nil
}

// place is where a value is from.
type place struct {
	file  string // "": it is the default
	line  int    // 0: not known
	found bool   // the file with this name was there
	note  string // on a default
}

func (p place) String() string {
	switch {
	case p.found:
		return "found"
	case p.note != "":
		return "default; " + p.note
	case p.file == "":
		return "default"
	case p.line == 0:
		return report.Printable(p.file)
	}
	return fmt.Sprintf("%s:%d", report.Printable(p.file), p.line)
}

// value is a string, a bool, a []string, an int64, or nil for none.
type value struct {
	v  any
	at place
}

// settings are values by the names of their options.
type settings map[string]value

func (s settings) override(with settings) {
	for name, v := range with {
		s[name] = v
	}
}

// repoSettings is an entry of repos.
type repoSettings struct {
	path    string
	at      place
	options settings
}

// document is what one file says.
type document struct {
	options  settings
	repos    []repoSettings
	hasRepos bool
	warnings []string
}

// optionError is what is wrong with a value.
func optionError(at place, name string, err error) error {
	return fmt.Errorf("%s: %s: %w", at, name, err)
}

// bounded returns s quoted, and not all of it if it is long.
func bounded(s string) string {
	return strconv.Quote(report.Shortened(s, maxName))
}

// maxName is how much is shown, in bytes, of what a file says.
const maxName = 60
