package push

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDest(t *testing.T) {
	for in, want := range map[string]dest{
		"host:path/to/repo":           {host: "host", repo: "path/to/repo"},
		"host:/path/:/repo":           {host: "host", repo: "/path/:/repo"},
		"host:~/re po;x":              {host: "host", repo: "~/re po;x"},
		"host:a@b:c":                  {host: "host", repo: "a@b:c"},
		"user@host:repo":              {host: "host", user: "user", repo: "repo"},
		"[::1]:repo":                  {host: "::1", repo: "repo"},
		"user@[fe80::1%eth0]:repo":    {host: "fe80::1%eth0", user: "user", repo: "repo"},
		"ssh://host/path":             {host: "host", repo: "/path"},
		"ssh://host:22/path":          {host: "host", port: 22, repo: "/path"},
		"ssh://host:/path":            {host: "host", repo: "/path"},
		"SSH://user@host:2222/~/repo": {host: "host", user: "user", port: 2222, repo: "~/repo"},
		"ssh://[::1]:22/repo":         {host: "::1", port: 22, repo: "/repo"},
		"ssh://u@[::1]/repo":          {host: "::1", user: "u", repo: "/repo"},
		"ssh://host/a%20b?c#d":        {host: "host", repo: "/a%20b?c#d"},
		"host:///srv/repo":            {host: "host", repo: "///srv/repo"},
	} {
		got, err := parseDest(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
		} else if diff := cmp.Diff(want, got, cmp.AllowUnexported(dest{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
	}

	for in, want := range map[string]string{
		"":                         `Destination not in form "host:repo"`,
		"host":                     `Destination not in form "host:repo"`,
		"[::1]":                    `Destination not in form "host:repo"`,
		":repo":                    `Destination host missing`,
		"host:":                    `Destination repo missing`,
		"@host:repo":               `Invalid destination host @host`,
		"user@:repo":               `Invalid destination host user@`,
		"http://host/repo":         `Destination scheme "http" not allowed`,
		"ssh://host":               `Destination repo missing`,
		"ssh:///repo":              `Destination host missing`,
		"ssh://:22/repo":           `Destination host missing`,
		"ssh://@host/repo":         `Invalid destination host @host`,
		"ssh://user@/repo":         `Invalid destination host user@`,
		"ssh://host:x/repo":        `Invalid destination port "x"`,
		"ssh://host:0/repo":        `Invalid destination port "0"`,
		"ssh://host:65536/repo":    `Invalid destination port "65536"`,
		"-oProxyCommand=x:repo":    `Invalid destination host "-oProxyCommand=x"`,
		"-l@host:repo":             `Invalid destination host "-l"`,
		"user@-oX:repo":            `Invalid destination host "-oX"`,
		"ssh://-oProxyCommand=x/r": `Invalid destination host "-oProxyCommand=x"`,
		"[::1:repo":                `Invalid destination host [::1:repo`,
		"[]:repo":                  `Invalid destination host []:repo`,
		"[::1]x:repo":              `Invalid destination host [::1]x:repo`,
		"ho\nst:repo":              `Invalid destination host "ho\nst"`,
	} {
		if d, err := parseDest(in); err == nil {
			t.Errorf("%q: accepted as %+v", in, d)
		} else if err.Error() != want {
			t.Errorf("%q: %q, want %q", in, err, want)
		}
	}
}
