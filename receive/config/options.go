package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"

	"ostree-push/report"
)

// reposOption is the one that is no value: a table of the others by repository.
const reposOption = "repos"

// kind is the type of an option's values.
type kind int

const (
	text kind = iota
	flag
	list
	number
)

func (k kind) String() string {
	return [...]string{"a string", "true or false", "a list of strings", "a whole number"}[k]
}

// option is one of the configuration. To add one, add it to options, to Config
// and to the examples.
type option struct {
	name     string
	kind     kind
	fallback any  // the default; nil: none, and it may be set to none
	within   any  // the default within the restricted shell; nil: the same
	global   bool // cannot be set for one repository
	// set checks a value, or nil, and puts it into a Config.
	set func(c *Config, v any) error
}

func options() []option {
	return []option{
		{name: "root", kind: text, global: true, set: setPath(func(c *Config) *string { return &c.Root })},
		{name: "gpg_sign", kind: list, fallback: []string{}, set: setList(func(c *Config) *[]string { return &c.GPGSign })},
		{name: "gpg_homedir", kind: text, set: setPath(func(c *Config) *string { return &c.GPGHomedir })},
		{name: "gpg_verify", kind: flag, fallback: false, set: setFlag(func(c *Config) *bool { return &c.GPGVerify })},
		{name: "gpg_trustedkeys", kind: text, set: setPath(func(c *Config) *string { return &c.GPGTrustedKeys })},
		{name: "sign_type", kind: text, fallback: "ed25519", set: setPath(func(c *Config) *string { return &c.SignType })},
		{name: "sign_keyfiles", kind: list, fallback: []string{}, set: setList(func(c *Config) *[]string { return &c.SignKeyfiles })},
		{name: "sign_verify", kind: flag, fallback: false, set: setFlag(func(c *Config) *bool { return &c.SignVerify })},
		{name: "sign_trustedkeyfile", kind: text, set: setPath(func(c *Config) *string { return &c.SignTrustedKeyfile })},
		{name: "update", kind: flag, fallback: true, set: setFlag(func(c *Config) *bool { return &c.Update })},
		{name: "update_hook", kind: text, set: setHook},
		{name: "log_level", kind: text, fallback: "INFO", set: setLogLevel},
		{name: "audit_log", kind: text, set: setAuditLog},
		{name: "timeout", kind: number, fallback: int64(120), set: setTimeout},
		{name: "force", kind: flag, fallback: false, set: setFlag(func(c *Config) *bool { return &c.Force })},
		{name: "dry_run", kind: flag, fallback: false, set: setFlag(func(c *Config) *bool { return &c.DryRun })},
		{name: "allow_force", kind: flag, fallback: true, set: setFlag(func(c *Config) *bool { return &c.AllowForce })},
		{name: "allow_no_update", kind: flag, fallback: true, within: false, set: setFlag(func(c *Config) *bool { return &c.AllowNoUpdate })},
		{name: "allow_promotion", kind: flag, fallback: false, set: setFlag(func(c *Config) *bool { return &c.AllowPromotion })},
		{name: "protocol_0", kind: flag, fallback: true, set: setFlag(func(c *Config) *bool { return &c.Protocol0 })},
		{name: "refs", kind: list, fallback: []string{"**"}, set: setRefs},
		{name: "allowed_urls", kind: list, fallback: defaultURLs, set: setURLs},
	}
}

// find returns the option called name, if there is one there.
func find(name string, inRepos bool) (option, bool) {
	all := options()
	i := slices.IndexFunc(all, func(o option) bool { return o.name == name && !(inRepos && o.global) })
	if i < 0 {
		return option{}, false
	}
	return all[i], true
}

// preset returns the default where the files are from.
func (o option) preset(from Sources) value {
	switch {
	case o.within == nil:
		return value{v: o.fallback}
	case from.Restricted:
		return value{v: o.within, at: place{note: "within the restricted shell"}}
	}
	return value{v: o.fallback, at: place{note: fmt.Sprintf("%v within the restricted shell", o.within)}}
}

// check returns an error if v cannot be the value of o.
func (o option) check(v any) error {
	var ok bool
	switch o.kind {
	case text:
		_, ok = v.(string)
	case flag:
		_, ok = v.(bool)
	case list:
		_, ok = v.([]string)
	case number:
		_, ok = v.(int64)
	}
	if v == nil && o.fallback == nil {
		return nil
	}
	if !ok {
		return fmt.Errorf("must be %s", o.kind)
	}
	return o.set(&Config{}, v)
}

func checkText(s string) error {
	if s == "" {
		return errors.New("must not be empty")
	}
	if strings.ContainsRune(s, 0) {
		return errors.New("has a NUL in it")
	}
	return nil
}

func setPath(field func(*Config) *string) func(*Config, any) error {
	return func(c *Config, v any) error {
		if v == nil {
			return nil
		}
		*field(c) = v.(string)
		return checkText(v.(string))
	}
}

func setFlag(field func(*Config) *bool) func(*Config, any) error {
	return func(c *Config, v any) error {
		*field(c) = v.(bool)
		return nil
	}
}

func setList(field func(*Config) *[]string) func(*Config, any) error {
	return func(c *Config, v any) error {
		for _, s := range v.([]string) {
			if err := checkText(s); err != nil {
				return fmt.Errorf("%s: %w", bounded(s), err)
			}
		}
		*field(c) = v.([]string)
		return nil
	}
}

func setHook(c *Config, v any) error {
	if v == nil {
		return nil
	}
	if err := checkText(v.(string)); err != nil {
		return err
	}
	words, err := shellquote.Split(v.(string))
	if err != nil {
		return fmt.Errorf("%s: %w", bounded(v.(string)), err)
	}
	if len(words) == 0 || words[0] == "" {
		return errors.New("names no program")
	}
	c.UpdateHook = words
	return nil
}

func setLogLevel(c *Config, v any) error {
	levels := map[string]report.Level{
		"DEBUG": report.Debug, "INFO": report.Info, "WARNING": report.Warning, "ERROR": report.Error,
	}
	level, ok := levels[v.(string)]
	if !ok {
		return fmt.Errorf("must be DEBUG, INFO, WARNING or ERROR, not %s", bounded(v.(string)))
	}
	c.LogLevel = level
	return nil
}

// auditSyslog is the audit_log that is no file.
const auditSyslog = "syslog"

func setAuditLog(c *Config, v any) error {
	if v == nil {
		return nil
	}
	s := v.(string)
	if err := checkText(s); err != nil {
		return err
	}
	// A file that is somewhere else for each way of logging in is no log.
	if s != auditSyslog && !filepath.IsAbs(s) {
		return fmt.Errorf("must be %q or an absolute path, not %s", auditSyslog, bounded(s))
	}
	c.AuditLog = s
	return nil
}

// maxTimeout is a day, in seconds.
const maxTimeout = 24 * 60 * 60

func setTimeout(c *Config, v any) error {
	seconds := v.(int64)
	if seconds < 1 || seconds > maxTimeout {
		return fmt.Errorf("must be from 1 to %d seconds, not %d", maxTimeout, seconds)
	}
	c.Timeout = time.Duration(seconds) * time.Second
	return nil
}

func setRefs(c *Config, v any) error {
	for _, s := range v.([]string) {
		if err := CheckRefPattern(s); err != nil {
			return err
		}
	}
	c.refs = v.([]string)
	return nil
}

func setURLs(c *Config, v any) error {
	c.urls = nil
	for _, s := range v.([]string) {
		p, err := parseURLPattern(s)
		if err != nil {
			return fmt.Errorf("%s: %w", bounded(s), err)
		}
		c.urls = append(c.urls, p)
	}
	return nil
}
