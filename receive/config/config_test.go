package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ostree-push/report"
)

// write writes a file, and returns its path.
func write(t testing.TB, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// load loads one file, whose name has the extension ext.
func load(t testing.TB, ext, content string) (*Policy, error) {
	t.Helper()
	return Load(Sources{Only: write(t, filepath.Join(t.TempDir(), "file"+ext), content)})
}

func mustLoad(t testing.TB, ext, content string) *Policy {
	t.Helper()
	p, err := load(t, ext, content)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// exported returns the exported fields, which are what the receiver goes by.
func exported(c *Config) map[string]any {
	fields := map[string]any{}
	v := reflect.ValueOf(*c)
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() {
			fields[f.Name] = v.Field(i).Interface()
		}
	}
	return fields
}

// with returns the defaults with some fields set.
func with(set map[string]any) map[string]any {
	fields := map[string]any{
		"Root": "", "GPGSign": []string{}, "GPGHomedir": "", "GPGVerify": false, "GPGTrustedKeys": "",
		"SignType": "ed25519", "SignKeyfiles": []string{}, "SignVerify": false, "SignTrustedKeyfile": "",
		"Update": true, "UpdateHook": []string(nil), "LogLevel": report.Info, "LogLevelSet": false,
		"Force": false, "DryRun": false, "AllowForce": true, "AuditLog": "", "Timeout": 2 * time.Minute,
		"AllowNoUpdate": true, "AllowPromotion": false, "Protocol0": true,
	}
	for name, v := range set {
		fields[name] = v
	}
	return fields
}

// each has one value of each option, in both formats.
var each = []struct {
	name, toml, yaml string
	fields           map[string]any
}{
	{"root", `"/srv"`, `/srv`, map[string]any{"Root": "/srv"}},
	{"gpg_sign", `["A", "B C"]`, `[A, B C]`, map[string]any{"GPGSign": []string{"A", "B C"}}},
	{"gpg_homedir", `"home"`, `home`, map[string]any{"GPGHomedir": "home"}},
	{"gpg_verify", `true`, `yes`, map[string]any{"GPGVerify": true}},
	{"gpg_trustedkeys", `"keys"`, `"keys"`, map[string]any{"GPGTrustedKeys": "keys"}},
	{"sign_type", `"spki"`, `'spki'`, map[string]any{"SignType": "spki"}},
	{"sign_keyfiles", `["a"]`, "\n  - a", map[string]any{"SignKeyfiles": []string{"a"}}},
	{"sign_verify", `true`, `On`, map[string]any{"SignVerify": true}},
	{"sign_trustedkeyfile", `"k"`, "|-\n  k", map[string]any{"SignTrustedKeyfile": "k"}},
	{"update", `false`, `no`, map[string]any{"Update": false}},
	{"update_hook", `"a 'b c'"`, `a 'b c'`, map[string]any{"UpdateHook": []string{"a", "b c"}}},
	{"log_level", `"ERROR"`, `ERROR`, map[string]any{"LogLevel": report.Error, "LogLevelSet": true}},
	{"audit_log", `"/var/log/receive"`, `/var/log/receive`, map[string]any{"AuditLog": "/var/log/receive"}},
	{"timeout", `30`, `30`, map[string]any{"Timeout": 30 * time.Second}},
	{"force", `true`, `TRUE`, map[string]any{"Force": true}},
	{"dry_run", `true`, `true`, map[string]any{"DryRun": true}},
	{"allow_force", `false`, `off`, map[string]any{"AllowForce": false}},
	{"allow_no_update", `false`, `no`, map[string]any{"AllowNoUpdate": false}},
	{"allow_promotion", `true`, `yes`, map[string]any{"AllowPromotion": true}},
	{"protocol_0", `false`, `no`, map[string]any{"Protocol0": false}},
	{"refs", `["a/*"]`, `["a/*"]`, nil},
	{"allowed_urls", `["https://example.org"]`, `[https://example.org]`, nil},
}

// checkPatterns checks what does not show in the fields.
func checkPatterns(t *testing.T, c *Config, option string) {
	t.Helper()
	if got, want := c.AllowsRef("b"), option != "refs"; got != want {
		t.Errorf("ref b: %v", got)
	}
	if _, err := c.CheckURL("http://127.0.0.1:1"); (err == nil) != (option != "allowed_urls") {
		t.Errorf("a push's URL: %v", err)
	}
}

func TestEachOption(t *testing.T) {
	var names []string
	repo := t.TempDir()
	for _, o := range each {
		names = append(names, o.name)
		inRepos := strings.ReplaceAll(o.yaml, "\n  ", "\n      ")
		for what, test := range map[string]struct{ ext, content string }{
			"toml":            {".toml", o.name + " = " + o.toml},
			"yaml":            {".conf", o.name + ": " + o.yaml + "\n"},
			"yaml, no .conf":  {"", "---\n" + o.name + ": " + o.yaml + "\n"},
			"toml, for one":   {".toml", fmt.Sprintf("[repos.%q]\n%s = %s", repo, o.name, o.toml)},
			"yaml, for one":   {".conf", fmt.Sprintf("repos:\n  %s:\n    %s: %s\n", repo, o.name, inRepos)},
			"yaml, not for b": {".conf", fmt.Sprintf("repos:\n  /nowhere:\n    %s: %s\n", o.name, inRepos)},
		} {
			t.Run(o.name+", "+what, func(t *testing.T) {
				p, err := load(t, test.ext, test.content)
				forOne := strings.Contains(what, "for")
				if o.name == "root" && forOne {
					if strings.HasPrefix(what, "toml") {
						if err == nil || !strings.HasSuffix(err.Error(), `:2: repos."`+repo+`".root: unknown option`) {
							t.Errorf("%v", err)
						}
					} else if len(p.Warnings()) != 1 || !strings.HasPrefix(p.Warnings()[0], "Unrecognized option root of repos /") {
						t.Errorf("%v, %q", err, p.Warnings())
					}
					return
				}
				if err != nil || len(p.Warnings()) > 0 {
					t.Fatalf("%v, %q", err, p.Warnings())
				}
				c, err := p.For(repo)
				if err != nil {
					t.Fatal(err)
				}
				fields, option := o.fields, o.name
				if strings.Contains(what, "not for") {
					fields, option = nil, ""
				}
				if diff := cmp.Diff(with(fields), exported(c)); diff != "" {
					t.Error(diff)
				}
				checkPatterns(t, c, option)
				if forOne {
					fields, option = nil, ""
				}
				if diff := cmp.Diff(with(fields), exported(p.Global())); diff != "" {
					t.Errorf("global: %s", diff)
				}
				checkPatterns(t, p.Global(), option)
			})
		}
	}
	var all []string
	for _, o := range options() {
		all = append(all, o.name)
	}
	slices.Sort(names)
	slices.Sort(all)
	if diff := cmp.Diff(all, names); diff != "" {
		t.Errorf("options without a test: %s", diff)
	}
}

// Paths of repos are compared as files.
func TestRepoPaths(t *testing.T) {
	root := t.TempDir()
	repo := filepath.Join(root, "group", "repo")
	if err := os.MkdirAll(repo, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(repo, link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(root)
	for _, ext := range []string{".toml", ".conf"} {
		for path, want := range map[string]bool{
			repo:                     true,
			link:                     true,
			"group/repo":             true,
			"group/../group/repo/":   true,
			root:                     false,
			"/nowhere":               false,
			filepath.Dir(repo):       false,
			filepath.Join(repo, "x"): false,
		} {
			for _, withRoot := range []bool{true, false} {
				content := fmt.Sprintf("force = false\n[repos.%q]\nforce = true\n", path)
				if withRoot {
					content = fmt.Sprintf("root = %q\n", root) + content
				}
				if ext == ".conf" {
					content = fmt.Sprintf("force: false\nrepos:\n  %s: {force: true}\n", path)
					if withRoot {
						content = "root: " + root + "\n" + content
					}
				}
				c, err := mustLoad(t, ext, content).For(repo)
				if err != nil || c.Force != want {
					t.Errorf("%s, %s, root %v: force is %v, %v", ext, path, withRoot, c.Force, err)
				}
			}
		}
	}

	_, err := mustLoad(t, ".conf", "repos:\n  "+repo+": {}\n  "+link+": {}\n").For(repo)
	if err == nil || !regexp.MustCompile(`file.conf:3: repos.".*/link" is the same repository as repos.".*/repo" \(.*file.conf:2\)$`).MatchString(err.Error()) {
		t.Errorf("%v", err)
	}
}

// Later files win, option by option.
func TestOrder(t *testing.T) {
	system, user := t.TempDir(), t.TempDir()
	s := Sources{Dirs: []string{system, user}}
	level := func() report.Level {
		t.Helper()
		p, err := Load(s)
		if err != nil {
			t.Fatal(err)
		}
		if c := p.Global(); c.Update || c.LogLevelSet != (c.LogLevel != report.Info) {
			t.Errorf("update is %v", c.Update)
		}
		return p.Global().LogLevel
	}
	write(t, filepath.Join(system, "ostree-receive.conf"), "update: no\n")
	for _, step := range []struct {
		file, content string
		want          report.Level
	}{
		{filepath.Join(user, "ostree-receive.toml"), `log_level = "ERROR"`, report.Error},
		{filepath.Join(user, "ostree-receive.conf"), `log_level: DEBUG`, report.Error},
		{filepath.Join(system, "ostree-receive.toml"), `log_level = "WARNING"`, report.Error},
		{filepath.Join(user, "ostree-receive.toml"), "", report.Debug},
		{filepath.Join(user, "ostree-receive.conf"), "# nothing\n", report.Warning},
		{filepath.Join(system, "ostree-receive.toml"), "", report.Info},
	} {
		write(t, step.file, step.content)
		if got := level(); got != step.want {
			t.Errorf("after %s: %v, not %v", step.file, got, step.want)
		}
	}

	// repos is one option.
	repo := t.TempDir()
	write(t, filepath.Join(system, "ostree-receive.conf"), "update: no\nrepos: {"+repo+": {force: yes}}\n")
	write(t, filepath.Join(user, "ostree-receive.toml"), fmt.Sprintf("[repos.%q]\ndry_run = true\n", repo))
	p, err := Load(s)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := p.For(repo); err != nil || c.Force || !c.DryRun || c.Update {
		t.Errorf("force %v, dry_run %v, update %v, %v", c.Force, c.DryRun, c.Update, err)
	}

	// One file instead.
	s.Only = write(t, filepath.Join(t.TempDir(), "only"), "log_level: ERROR\nupdate: off\n")
	if got := level(); got != report.Error {
		t.Errorf("the only file: %v", got)
	}
	s.Only = filepath.Join(t.TempDir(), "nowhere")
	p, err = Load(s)
	if err != nil || !slices.Equal(p.Warnings(), []string{"OSTREE_RECEIVE_CONF is " + s.Only + ", which does not exist"}) || !p.Global().Update {
		t.Errorf("%v, %q", err, p.Warnings())
	}
	s.Only = t.TempDir()
	if _, err := Load(s); err == nil {
		t.Error("a directory is no file")
	}
}

func TestDefaultSources(t *testing.T) {
	t.Setenv("HOME", "/home/someone")
	t.Setenv("OSTREE_RECEIVE_CONF", "")
	for xdg, want := range map[string]string{
		"": "/home/someone/.config/ostree", "/xdg": "/xdg/ostree", "relative": "/home/someone/.config/ostree",
	} {
		t.Setenv("XDG_CONFIG_HOME", xdg)
		if diff := cmp.Diff(Sources{Dirs: []string{"/etc/ostree", want}}, DefaultSources()); diff != "" {
			t.Error(diff)
		}
	}
	t.Setenv("OSTREE_RECEIVE_CONF", "/only")
	if s := DefaultSources(); s.Only != "/only" || s.Dirs[0] != "/etc/ostree" {
		t.Errorf("%v", s)
	}
}

// Within the restricted shell, some options have another default, which is printed as what it
// is. What a file says counts everywhere.
func TestRestricted(t *testing.T) {
	for _, test := range []struct {
		restricted, content string
		want                bool
		print               string
	}{
		{"", "", true, "allow_no_update = true # default; false within the restricted shell\n"},
		{"1", "", false, "allow_no_update = false # default; within the restricted shell\n"},
		{"", "allow_no_update = false", false, "allow_no_update = false # FILE:1\n"},
		{"1", "allow_no_update = true", true, "allow_no_update = true # FILE:1\n"},
	} {
		t.Setenv("OSTREE_RECEIVE_RESTRICTED", test.restricted)
		s := DefaultSources()
		s.Only = write(t, filepath.Join(t.TempDir(), "f.toml"), test.content)
		p, err := Load(s)
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.For(t.TempDir())
		if err != nil || c.AllowNoUpdate != test.want || p.Global().AllowNoUpdate != test.want {
			t.Errorf("restricted %q, %q: %v, %v", test.restricted, test.content, c.AllowNoUpdate, err)
		}
		var b bytes.Buffer
		if err := c.WriteTOML(&b); err != nil || !strings.Contains(strings.ReplaceAll(b.String(), s.Only, "FILE"), test.print) {
			t.Errorf("restricted %q, %q: no %s in\n%s", test.restricted, test.content, test.print, &b)
		}
	}
}

// What is forbidden is not done because another file wants it always.
func TestForceForbidden(t *testing.T) {
	repo := t.TempDir()
	p := mustLoad(t, ".toml", fmt.Sprintf("force = true\n[repos.%q]\nallow_force = false\n", repo))
	c, err := p.For(repo)
	if err != nil || c.Force || !p.Global().Force {
		t.Errorf("force is %v, and elsewhere %v, %v", c.Force, p.Global().Force, err)
	}
}

// Errors name the file, the line and the option.
func TestErrors(t *testing.T) {
	for _, test := range []struct{ ext, content, want string }{
		{".toml", "\nforce = 1", "FILE:2: force: must be true or false"},
		{".toml", "force = \"true\"", "FILE:1: force: must be true or false"},
		{".toml", "root = 1", "FILE:1: root: must be a string"},
		{".toml", "gpg_sign = \"A\"", "FILE:1: gpg_sign: must be a list of strings"},
		{".toml", "gpg_sign = [\"A\",\n1]", "FILE:1: gpg_sign: must be a list of strings"},
		{".toml", "# x\ngpg_verfiy = true", "FILE:2: gpg_verfiy: unknown option"},
		{".toml", "[gpg]\nverify = true", "FILE:1: gpg: unknown option"},
		{".toml", "[repos.a]\n\nfroce = true", `FILE:3: repos."a".froce: unknown option`},
		{".toml", "[repos.a]\nforce = 3", `FILE:2: repos."a".force: must be true or false`},
		{".toml", "repos = 3", "FILE:1: repos: must be a table of repositories"},
		{".toml", "[[repos]]", "FILE:1: repos: must be a table of repositories"},
		{".toml", "[repos]\na = 3", `FILE:2: repos."a": must be a table of options`},
		{".toml", "[repos.\"\"]\nforce = true", `repos."": must not be empty`},
		{".toml", "force = true\nforce = false", "FILE:2: Key 'force' has already been defined."},
		{".toml", "force = tru", "FILE:1: "},
		{".toml", "root = \"\xff\"", "FILE: is not UTF-8"},
		{".conf", "\xff\xfea\x00", "FILE: is not UTF-8"},
		{".conf", "gpg_verify: !!bool enabled", "FILE:1: gpg_verify: must be true or false"},
		{".conf", "gpg_verify: !!bool y", "FILE:1: gpg_verify: must be true or false"},
		{".conf", "gpg_sign: !foo [a]", "FILE:1: gpg_sign: must be a list of strings, not something else"},
		{".conf", "root: !!null /srv", "FILE:1: root: must be a string"},
		{".conf", "!foo {}", "Config file FILE is not a YAML mapping"},
		{".toml", "\"a\\nb\" = 1", `FILE:1: a\nb: unknown option`},
		{".toml", `refs = ["a\u0000"]`, "is not a valid pattern"},
		{".toml", `allowed_urls = ["http://a:99999"]`, "the port is no number"},
		{".toml", `allowed_urls = ["http://a:0"]`, "is not of the form"},
		{".toml", `allowed_urls = ["http://[:::]"]`, "the host is no IPv6 address"},
		{".toml", `allowed_urls = ["http://a b"]`, "is not of the form"},
		{".toml", `allowed_urls = ["http://a/../b"]`, "the pattern of the path is invalid"},
		{".toml", `force = "false"`, "FILE:1: force: must be true or false"},
		{".toml", `root = ""`, "FILE:1: root: must not be empty"},
		{".toml", `root = "a\u0000"`, "FILE:1: root: has a NUL in it"},
		{".toml", `sign_keyfiles = [""]`, `FILE:1: sign_keyfiles: "": must not be empty`},
		{".toml", `log_level = "info"`, `FILE:1: log_level: must be DEBUG, INFO, WARNING or ERROR, not "info"`},
		{".toml", `update_hook = "a 'b"`, `FILE:1: update_hook: "a 'b": Unterminated single-quoted string`},
		{".toml", `update_hook = " "`, `FILE:1: update_hook: names no program`},
		{".toml", `refs = ["a["]`, `FILE:1: refs: "a[" is not a valid pattern`},
		{".toml", `refs = [""]`, `FILE:1: refs: "" is not a valid pattern`},
		{".toml", `allowed_urls = ["example.org"]`, `FILE:1: allowed_urls: "example.org": is not of the form SCHEME://HOST[:PORT][/PATH]`},
		{".toml", `allowed_urls = ["ftp://example.org"]`, `FILE:1: allowed_urls: "ftp://example.org": the scheme is not http, https or file`},
		{".toml", `allowed_urls = ["file://host/x"]`, `FILE:1: allowed_urls: "file://host/x": a file URL has no host: write file:///PATH`},
		{".toml", `allowed_urls = ["http://"]`, `FILE:1: allowed_urls: "http://": the host is missing`},
		{".toml", `allowed_urls = ["http://user@host"]`, `is not of the form`},
		{".toml", `allowed_urls = ["http://a/["]`, `the pattern of the path is invalid`},

		{".toml", `timeout = 0`, "FILE:1: timeout: must be from 1 to 86400 seconds, not 0"},
		{".toml", `timeout = 86401`, "FILE:1: timeout: must be from 1 to 86400 seconds, not 86401"},
		{".toml", `timeout = 1.5`, "FILE:1: timeout: must be a whole number"},
		{".conf", `timeout: 1.5`, "FILE:1: timeout: must be a whole number"},
		{".conf", `timeout: "3"`, "FILE:1: timeout: must be a whole number, not a string"},
		{".toml", `audit_log = "log"`, `FILE:1: audit_log: must be "syslog" or an absolute path, not "log"`},

		{".conf", "- a", "Config file FILE is not a YAML mapping"},
		{".conf", "text", "Config file FILE is not a YAML mapping"},
		{".conf", "3", "Config file FILE is not a YAML mapping"},
		{".conf", "\nforce: 1", "FILE:2: force: must be true or false, not a number"},
		{".conf", "force: \"yes\"", "FILE:1: force: must be true or false, not a string"},
		{".conf", "force: y", "FILE:1: force: must be true or false, not a string"},
		{".conf", "force:", "FILE:1: force: must be true or false"},
		{".conf", "gpg_sign: A", "FILE:1: gpg_sign: must be a list of strings, not a string"},
		{".conf", "gpg_sign: {a: b}", "FILE:1: gpg_sign: must be a list of strings, not a mapping"},
		{".conf", "gpg_sign: null", "FILE:1: gpg_sign: must be a list of strings"},
		{".conf", "gpg_sign: [A, 12345678]", `FILE:1: gpg_sign: must be a string, and "12345678" is a number: put it in quotes`},
		{".conf", "gpg_sign: [A, ~]", "FILE:1: gpg_sign: has an empty element"},
		{".conf", "root: [a]", "FILE:1: root: must be a string, not a list"},
		{".conf", "root: no", `FILE:1: root: must be a string, and "no" is true or false: put it in quotes`},
		{".conf", "sign_type:", "FILE:1: sign_type: must be a string"},
		{".conf", "repos: [a]", "FILE:1: repos: must be a mapping of repositories"},
		{".conf", "repos:\n  a: 3", `FILE:2: repos."a": must be a mapping of options`},
		{".conf", "repos:\n  3: {}", `FILE:2: repos."3": must be a string, and "3" is a number: put it in quotes`},
		{".conf", "repos:\n  a:\n    update: 3", `FILE:3: repos."a".update: must be true or false, not a number`},
		{".conf", "force: [", "FILE:1: did not find expected node content"},
		{".conf", "a: *b", "FILE: unknown anchor 'b' referenced"},
		{".conf", "--- {}\n--- {}", "FILE: there is more than one document in it"},
		{".conf", "? [a]\n: b", "FILE:1: a key is no word"},
		{".conf", "x: &x {<<: *x}\n<<: *x", "FILE:1: too many mappings are merged"},
		{".conf", "<<: 3", "FILE:1: << merges what is no mapping"},
		{".conf", "log_level: info", `FILE:1: log_level: must be DEBUG, INFO, WARNING or ERROR, not "info"`},
	} {
		file := write(t, filepath.Join(t.TempDir(), "f"+test.ext), test.content)
		_, err := Load(Sources{Only: file})
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), file, "FILE"), test.want) {
			t.Errorf("%q:\n%v, not\n%s", test.content, err, test.want)
		}
	}
}

// What was only a warning in YAML still is.
func TestWarnings(t *testing.T) {
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "f"), "gpg_verfiy: true\n1: 2\nrepos:\n  a: {x: 1, root: /}\nforce: no\nforce: yes\n")
	p, err := Load(Sources{Only: file})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		file + `:6: "force" was set in line 5 already, which does not count`,
		"Unrecognized option gpg_verfiy in config file " + file,
		"Unrecognized option 1 in config file " + file,
		"Unrecognized option x of repos a in config file " + file,
		"Unrecognized option root of repos a in config file " + file,
	}
	if diff := cmp.Diff(want, p.Warnings()); diff != "" {
		t.Error(diff)
	}
	if !p.Global().Force || p.Global().GPGVerify {
		t.Errorf("%+v", p.Global())
	}
}

// Plain scalars are what they are to PyYAML, which is not what they are to YAML 1.2.
func TestYAMLScalars(t *testing.T) {
	for text, want := range map[string]yamlKind{
		"yes": yamlBool, "No": yamlBool, "ON": yamlBool, "y": yamlString, "yEs": yamlString,
		"~": yamlNull, "Null": yamlNull, "": yamlNull, "nUll": yamlString,
		"12": yamlInt, "0123": yamlInt, "089": yamlString, "0x1F": yamlInt, "1_000": yamlInt, "1:30": yamlInt,
		"0b11": yamlInt, "0o17": yamlString, "1E5": yamlString, "1.5": yamlInt, "1.e+5": yamlInt, ".inf": yamlInt,
		"2026-01-02": yamlTimestamp, "2026-1-2 3:04:05": yamlTimestamp, "0123456789ABCDEF": yamlString,
	} {
		var got yamlKind
		p, err := load(t, "", "root: "+text)
		switch {
		case err == nil && p.Root() == "":
			got = yamlNull
		case err == nil:
			got = yamlString
			if p.Root() != text {
				t.Errorf("%q is %q", text, p.Root())
			}
		default:
			for _, k := range []yamlKind{yamlBool, yamlInt, yamlTimestamp} {
				if strings.Contains(err.Error(), "is "+string(k)+": put it in quotes") {
					got = k
				}
			}
		}
		if got != want {
			t.Errorf("%q is %s, not %s: %v", text, got, want, err)
		}
		// In quotes, and tagged, it is a string.
		for _, quoted := range []string{`"` + text + `"`, "!!str " + text} {
			if p, err := load(t, "", "sign_type: "+quoted); text != "" && (err != nil || p.Global().SignType != text) {
				t.Errorf("%s: %v", quoted, err)
			}
		}
	}
}

// Aliases and merge keys work, and cannot be made to take for ever.
func TestYAMLMerge(t *testing.T) {
	p := mustLoad(t, "", "base: &base {update: no, force: yes}\nlist: &l [A, &b B]\n<<: *base\nforce: no\ngpg_sign: *l\nroot: *b\n")
	c := p.Global()
	if c.Update || c.Force || !slices.Equal(c.GPGSign, []string{"A", "B"}) || c.Root != "B" {
		t.Errorf("%+v", c)
	}
	p = mustLoad(t, "", "a: &a {log_level: ERROR}\nb: &b {log_level: DEBUG, force: yes}\n<<: [*a, *b]\n")
	if c := p.Global(); c.LogLevel != report.Error || !c.Force {
		t.Errorf("%+v", c)
	}
	bomb := "a0: &a0 {force: yes}\n"
	for i := range 9 {
		bomb += fmt.Sprintf("a%d: &a%d {<<: [%s]}\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	if _, err := load(t, "", bomb+"<<: *a9\n"); err == nil || !strings.Contains(err.Error(), "too many mappings are merged") {
		t.Errorf("%v", err)
	}
}

func TestNothingSet(t *testing.T) {
	for _, ext := range []string{".toml", ".conf"} {
		for _, content := range []string{"", "\n", "# comment\n"} {
			if diff := cmp.Diff(with(nil), exported(mustLoad(t, ext, content).Global())); diff != "" {
				t.Errorf("%s %q: %s", ext, content, diff)
			}
		}
	}
	nulls := "---\nroot:\naudit_log: ~\ngpg_homedir: ~\ngpg_trustedkeys: null\nsign_trustedkeyfile:\nupdate_hook:\n"
	if diff := cmp.Diff(with(nil), exported(mustLoad(t, ".conf", nulls).Global())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(with(nil), exported(mustLoad(t, ".conf", "---\n...\n").Global())); diff != "" {
		t.Error(diff)
	}
}

func TestFindKeys(t *testing.T) {
	system, user, other := t.TempDir(), t.TempDir(), t.TempDir()
	s := Sources{Dirs: []string{system, user}}
	find := func(content string) (*Config, error) {
		t.Helper()
		s.Only = write(t, filepath.Join(other, "c.toml"), content)
		p, err := Load(s)
		if err != nil {
			t.Fatal(err)
		}
		c := p.Global()
		return c, c.FindKeys()
	}
	for content, want := range map[string]string{
		`gpg_trustedkeys = "/nowhere/k"`:     `gpg_trustedkeys keyring "/nowhere/k" does not exist`,
		`sign_keyfiles = ["/nowhere/k"]`:     `sign_keyfiles keyfile "/nowhere/k" does not exist`,
		`sign_trustedkeyfile = "/nowhere/k"`: `sign_trustedkeyfile keyfile "/nowhere/k" does not exist`,
		`gpg_homedir = "/nowhere/k"`:         `gpg_homedir directory "/nowhere/k" does not exist`,
		`gpg_homedir = "/dev/null"`:          `gpg_homedir directory "/dev/null" is no directory`,
		`gpg_trustedkeys = "/dev"`:           `gpg_trustedkeys keyring "/dev" is no regular file`,
		`sign_keyfiles = ["/dev/null"]`:      `sign_keyfiles keyfile "/dev/null" is no regular file`,
		`sign_type = "../x"`:                 `sign_type "../x" is no name of a signature system`,
	} {
		if _, err := find(content); err == nil || err.Error() != want {
			t.Errorf("%s: %v", content, err)
		}
	}

	found := func(content string) [2]string {
		t.Helper()
		c, err := find(content)
		if err != nil {
			t.Fatal(err)
		}
		return [2]string{c.GPGTrustedKeys, c.SignTrustedKeyfile}
	}
	if got := found(""); got != [2]string{} {
		t.Errorf("found %q where there is nothing", got)
	}
	userGPG := write(t, filepath.Join(user, "ostree-receive-trustedkeys.gpg"), "x")
	userEd := write(t, filepath.Join(user, "ostree-receive-trustedkeyfile.ed25519"), "x")
	if got := found(""); got != [2]string{userGPG, userEd} {
		t.Errorf("the user's: %q", got)
	}
	if got := found(`sign_type = "spki"`); got != [2]string{userGPG, ""} {
		t.Errorf("of another type: %q", got)
	}
	systemGPG := write(t, filepath.Join(system, "ostree-receive-trustedkeys.gpg"), "x")
	if got := found(""); got != [2]string{systemGPG, userEd} {
		t.Errorf("the system's first: %q", got)
	}
	mine := write(t, filepath.Join(other, "mine"), "x")
	if got := found(fmt.Sprintf("gpg_trustedkeys = %q\nsign_trustedkeyfile = %q", mine, mine)); got != [2]string{mine, mine} {
		t.Errorf("configured: %q", got)
	}
	os.Remove(userGPG)
	os.Remove(systemGPG)
	if err := os.Mkdir(userGPG, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := find(""); err == nil {
		t.Error("a directory is no keyring")
	}
}

// What is printed is TOML that means the same, and says where it is from.
func TestPrint(t *testing.T) {
	repo := t.TempDir()
	var yaml, own strings.Builder
	for _, o := range each {
		fmt.Fprintf(&yaml, "%s: %s\n", o.name, o.yaml)
	}
	fmt.Fprintf(&yaml, "repos:\n  %s:\n    force: no\n    update_hook:\n    gpg_homedir: \"a \\\" b\\n\"\n", repo)
	p := mustLoad(t, ".conf", yaml.String())
	var all bytes.Buffer
	if err := p.WriteTOML(&all); err != nil {
		t.Fatal(err)
	}
	again := mustLoad(t, ".toml", all.String())
	for what, configs := range map[string][2]func() (*Config, error){
		"global":  {func() (*Config, error) { return p.Global(), nil }, func() (*Config, error) { return again.Global(), nil }},
		"for one": {func() (*Config, error) { return p.For(repo) }, func() (*Config, error) { return again.For(repo) }},
	} {
		want, err := configs[0]()
		if err != nil {
			t.Fatal(err)
		}
		got, err := configs[1]()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(exported(want), exported(got)); diff != "" {
			t.Errorf("%s: %s\n%s", what, diff, &all)
		}
		checkPatterns2(t, want, got)
	}

	one, err := p.For(repo)
	if err != nil {
		t.Fatal(err)
	}
	if err := one.WriteTOML(&own); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{`(?m)^force = false # /.*/file.conf:\d+$`, `(?m)^gpg_homedir = "a \\" b\\n" # `} {
		if !regexp.MustCompile(pattern).MatchString(own.String()) {
			t.Errorf("%s is not in\n%s", pattern, &own)
		}
	}
	var defaults strings.Builder
	if err := mustLoad(t, ".toml", "").Global().WriteTOML(&defaults); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"# root is not set # default", `sign_type = "ed25519" # default`, `refs = ["**"] # default`} {
		if !strings.Contains(defaults.String(), line+"\n") {
			t.Errorf("%q is not in\n%s", line, &defaults)
		}
	}
}

func checkPatterns2(t *testing.T, want, got *Config) {
	t.Helper()
	for _, ref := range []string{"a/b", "b"} {
		if want.AllowsRef(ref) != got.AllowsRef(ref) {
			t.Errorf("ref %s: %v", ref, got.AllowsRef(ref))
		}
	}
	for _, u := range []string{"https://example.org/x", "http://127.0.0.1:1"} {
		_, wantErr := want.CheckURL(u)
		_, gotErr := got.CheckURL(u)
		if (wantErr == nil) != (gotErr == nil) {
			t.Errorf("%s: %v", u, gotErr)
		}
	}
}

// The examples load, as they are and with everything in them in force, and
// say the same in both formats.
func TestExamples(t *testing.T) {
	tomlOption := regexp.MustCompile(`(?m)^#([a-z_0-9]+ = |\[repos)`)
	yamlOption := regexp.MustCompile(`(?m)^#( *[a-z_0-9/]+:|  - )`)
	var active []*Policy
	for _, example := range []struct {
		ext     string
		option  *regexp.Regexp
		comment string
	}{{".toml", tomlOption, "#"}, {".conf", yamlOption, "#"}} {
		content, err := os.ReadFile("../../docs/examples/ostree-receive" + example.ext)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(with(nil), exported(mustLoad(t, example.ext, string(content)).Global())); diff != "" {
			t.Errorf("%s, as it is: %s", example.ext, diff)
		}
		p := mustLoad(t, example.ext, example.option.ReplaceAllString(string(content), "$1"))
		if len(p.Warnings()) > 0 {
			t.Errorf("%s: %q", example.ext, p.Warnings())
		}
		for _, o := range options() {
			if _, ok := p.global.values[o.name]; !ok {
				t.Errorf("%s does not have %s", example.ext, o.name)
			}
		}
		active = append(active, p)
	}
	if diff := cmp.Diff(exported(active[0].Global()), exported(active[1].Global())); diff != "" {
		t.Error(diff)
	}
	strip := func(p *Policy) map[string]map[string]any {
		all := map[string]map[string]any{"": {}}
		for name, v := range p.global.values {
			all[""][name] = v.v
		}
		for _, r := range p.repos {
			all[r.path] = map[string]any{}
			for name, v := range r.options {
				all[r.path][name] = v.v
			}
		}
		return all
	}
	if diff := cmp.Diff(strip(active[0]), strip(active[1])); diff != "" {
		t.Error(diff)
	}
}
