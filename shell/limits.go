package shell

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ostree-push/receive"
)

// limit is one that a forced command may have.
type limit struct {
	name  string
	value string // what messages call it; "": it has none
	// set checks a value, and puts it into the receiver's limits.
	set func(limits *receive.Limits, name, value string) error
}

// limits are all of them. What is understood, checked and handed to the receiver, and what is said of it, goes by
// this list, and a test compares the manual with it.
func limits() []limit {
	return []limit{
		{"--root", "DIR", setPath(func(l *receive.Limits) *string { return &l.Root })},
		{"--refs", "PATTERN", addRefs},
		{"--no-force", "", setFlag(func(l *receive.Limits) *bool { return &l.NoForce })},
		{"--read-config", "FILE", setPath(func(l *receive.Limits) *string { return &l.Config })},
	}
}

// findLimit returns the limit of that name, if there is one.
func findLimit(name string) (limit, bool) {
	all := limits()
	i := slices.IndexFunc(all, func(l limit) bool { return l.name == name })
	if i < 0 {
		return limit{}, false
	}
	return all[i], true
}

// listLimits is how they are written.
func listLimits() string {
	var all []string
	for _, l := range limits() {
		all = append(all, strings.TrimSpace(l.name+" "+l.value))
	}
	return strings.Join(all, ", ")
}

func isLimit(arg string) bool {
	name, _, _ := strings.Cut(arg, "=")
	_, ok := findLimit(name)
	return ok
}

// parseLimits reads limits, nil if there are none. What cannot be read as one is an
// error: a limit that is not understood must not be left out.
func parseLimits(args []string) (*receive.Limits, error) {
	if len(args) == 0 {
		return nil, nil
	}
	limits := &receive.Limits{}
	for len(args) > 0 {
		name, value, hasValue := strings.Cut(args[0], "=")
		args = args[1:]
		l, ok := findLimit(name)
		if !ok || l.value == "" && hasValue {
			return nil, refuse("Limit %s is none of %s", shown(name), listLimits())
		}
		if l.value != "" && !hasValue && len(args) > 0 {
			value, args = args[0], args[1:]
		}
		if l.value != "" && value == "" {
			return nil, refuse("Limit %s has no value", name)
		}
		if err := l.set(limits, name, value); err != nil {
			return nil, err
		}
	}
	return limits, nil
}

func addRefs(limits *receive.Limits, name, value string) error {
	if err := receive.CheckRefPattern(value); err != nil {
		return refuse("Limit %s: %v", name, err)
	}
	limits.Refs = append(limits.Refs, value)
	return nil
}

func setFlag(field func(*receive.Limits) *bool) func(*receive.Limits, string, string) error {
	return func(limits *receive.Limits, _, _ string) error {
		*field(limits) = true
		return nil
	}
}

// setPath sets a limit that is the path of something that is there.
func setPath(field func(*receive.Limits) *string) func(*receive.Limits, string, string) error {
	return func(limits *receive.Limits, name, value string) error {
		if *field(limits) != "" {
			return refuse("Limit %s is there twice", name)
		}
		*field(limits) = value
		// The current directory is the account's home, and might be another one.
		if !filepath.IsAbs(value) {
			return refuse("Limit %s %s: not an absolute path", name, shown(value))
		}
		if _, err := os.Stat(value); err != nil {
			return refuse("Limit %s: %v", name, err)
		}
		return nil
	}
}
