package shell

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ostree-push/receive"
)

const name = "ostree-receive-shell"

func TestParse(t *testing.T) {
	root := t.TempDir()
	limited := func(l receive.Limits) *receive.Limits { return &l }
	for what, test := range map[string]struct {
		args   string // separated by |
		forced string // SSH_ORIGINAL_COMMAND; "-": not set
		words  string // separated by |
		limits *receive.Limits
		err    string
	}{
		"login":                    {"-c|ostree-receive-1 a 'b c'", "-", "ostree-receive-1|a|b c", nil, ""},
		"login, forced otherwise":  {"-c|ostree-receive-1 a", "ostree-receive b", "ostree-receive-1|a", nil, ""},
		"login, other program":     {"-c|sh", "-", "", nil, "Executing sh not allowed"},
		"interactive":              {"", "-", "", nil, "Cannot run interactively"},
		"-c alone":                 {"-c", "-", "", nil, "Must be run with no arguments or with -c cmd"},
		"-c alone, forced":         {"-c", "ostree-receive a", "", nil, "Must be run with no arguments or with -c cmd"},
		"forced":                   {"", "ostree-receive a", "ostree-receive|a", nil, ""},
		"forced, interactive":      {"", "", "", nil, "Cannot run interactively"},
		"forced, other program":    {"", "sh", "", nil, "Executing sh not allowed"},
		"limits":                   {"--no-force", "ostree-receive a", "ostree-receive|a", limited(receive.Limits{NoForce: true}), ""},
		"limits, interactive":      {"--no-force", "", "", nil, "Cannot run interactively"},
		"limits, not forced":       {"--no-force", "-", "", nil, "Cannot run interactively"},
		"all limits":               {"--root|" + root + "|--refs=a|--refs|b|--read-config=/dev/null", "ostree-receive a", "ostree-receive|a", limited(receive.Limits{Root: root, Refs: []string{"a", "b"}, Config: "/dev/null"}), ""},
		"limits of the client":     {"", "ostree-receive --root / a", "", nil, "Option --root not allowed"},
		"limit with a value":       {"--no-force=false", "ostree-receive a", "", nil, "Limit --no-force is none of"},
		"limit without a value":    {"--refs", "ostree-receive a", "", nil, "Limit --refs has no value"},
		"limit with an empty one":  {"--refs=", "ostree-receive a", "", nil, "Limit --refs has no value"},
		"an unknown limit":         {"--rooot|/", "ostree-receive a", "", nil, "Limit --rooot is none of"},
		"no limit":                 {"x", "ostree-receive a", "", nil, "Must be run with no arguments or with -c cmd"},
		"something after limits":   {"--no-force|x", "ostree-receive a", "", nil, "Limit x is none of"},
		"nested":                   {"-c|/usr/bin/" + name + " --no-force", "ostree-receive a", "ostree-receive|a", limited(receive.Limits{NoForce: true}), ""},
		"nested, without limits":   {"-c|" + name, "ostree-receive a", "ostree-receive|a", nil, ""},
		"nested, not forced":       {"-c|" + name + " --read-config /dev/null", "-", "", nil, "Executing " + name + " not allowed"},
		"nested, client's line":    {"-c|" + name + " --root /nonexistent", name + " --root /nonexistent", "", nil, "Executing " + name + " not allowed"},
		"nested, existing":         {"-c|" + name + " --root /", name + " --root /", "", nil, "Executing " + name + " not allowed"},
		"nested, interactive":      {"-c|" + name + " --no-force", "", "", nil, "Cannot run interactively"},
		"nested twice":             {"-c|" + name, name + " --no-force", "", nil, "Executing " + name + " not allowed"},
		"forced to something else": {"-c|sh -c x", "ostree-receive a", "", nil, "Executing sh not allowed"},
	} {
		var args []string
		if test.args != "" {
			args = strings.Split(test.args, "|")
		}
		j, err := parse(name, args, func(string) (string, bool) {
			if test.forced == "-" {
				return "", false
			}
			return test.forced, true
		})
		if test.err != "" {
			if err == nil || !strings.HasPrefix(err.Error(), test.err) {
				t.Errorf("%s: %v, not %s", what, err, test.err)
			}
			if f := (*failure)(nil); err != nil && (!errors.As(err, &f) || f.status != exitRefused) {
				t.Errorf("%s: %#v", what, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if diff := cmp.Diff(test.words, strings.Join(j.words, "|")); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
		if diff := cmp.Diff(test.limits, j.limits); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
}

func TestAllowedOption(t *testing.T) {
	for option, want := range map[string]bool{
		"-n": true, "-nfqv": true, "-h": true, "--force": true, "--repo=x": true, "--repo": true, "repo": true, "-": true,
		"-x": false, "-nx": false, "--print-config": false, "--print-config=1": false, "--forc": false, "--force=1": false,
		"--root": false, "--repos": false, "---": false,
	} {
		if got := allowedOption(option, receive.PusherOptions()); got != want {
			t.Errorf("%s: %v", option, got)
		}
	}
}

// What a client may use is what the receivers' grammars say. That changes on purpose only.
func TestPusherOptions(t *testing.T) {
	var got []string
	for _, option := range receive.PusherOptions() {
		name := option.Long
		if option.HasValue {
			name += "="
		}
		got = append(got, option.Short+name)
		if !allowedOption(option.Long, receive.PusherOptions()) || option.Short != "" && !allowedOption("-"+option.Short, receive.PusherOptions()) ||
			allowedOption(option.Long+"=x", receive.PusherOptions()) != option.HasValue {
			t.Errorf("%s is not allowed as it is", name)
		}
	}
	slices.Sort(got)
	want := []string{"--debug", "--no-update", "--repo=", "--version", "f--force", "h--help", "n--dry-run", "q--quiet", "v--verbose"}
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Whatever a client wants, it is one of the programs, with options that are allowed.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"ostree-receive a b", "ostree-receive 'a", "sh;ostree-receive", "ostree-receive -- --print-config", "ostree-receive-0 --repo=~x/y"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		j, err := parse(name, []string{"-c", line}, func(string) (string, bool) { return "", false })
		if err != nil {
			return
		}
		if w := j.words[0]; w != "ostree-receive" && w != "ostree-receive-0" && w != "ostree-receive-1" {
			t.Errorf("%q runs %q", line, w)
		}
		for _, w := range j.words[1:] {
			if w == "--" {
				break
			}
			if strings.HasPrefix(w, "--print") {
				t.Errorf("%q has %q", line, w)
			}
		}
	})
}
