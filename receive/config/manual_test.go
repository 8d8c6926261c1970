package config

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The manual has all options, with their kinds and defaults.
func TestManual(t *testing.T) {
	page, err := os.ReadFile("../../docs/man/ostree-receive.toml.5.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "\n# OPTIONS\n")
	text, _, _ = strings.Cut(text, "\n# ")
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^\*\*(\w+)\*\* \((.*)\)\n:   `).FindAllStringSubmatch(text, -1) {
		got = append(got, m[1]+": "+strings.ReplaceAll(m[2], "`", ""))
	}
	var want []string
	for _, o := range options() {
		fallback := "none"
		if o.fallback != nil {
			var b bytes.Buffer
			if err := encode(&b, o.fallback); err != nil {
				t.Fatal(err)
			}
			fallback = strings.TrimSpace(b.String())
		}
		want = append(want, fmt.Sprintf("%s: %s; default: %s", o.name, o.kind, fallback))
	}
	want = append(want, reposOption+": a table; default: none")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(- program, + manual)\n%s", diff)
	}
}
