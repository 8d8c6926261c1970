package report

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// What is printable shows on one line, does nothing to a terminal, and is not changed again.
func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"":                       "",
		`a "b" c:\d 'é' 日本`:      `a "b" c:\d 'é' 日本`,
		"a\nb\r\tc":              `a\nb\r\tc`,
		"\x1b[2J \"quoted\"":     `\x1b[2J "quoted"`,
		"\u009b31m":              `\u009b31m`,
		"\x9b31m":                `\x9b31m`, // one byte, for a terminal that is not of UTF-8
		"abc\u202edef":           `abc\u202edef`,
		"a\u00a0b\u2028c":        `a\u00a0b\u2028c`,
		"\x7f\x00\ufffd\xff":     `\x7f\x00` + "\ufffd" + `\xff`,
		"\U000e0001 and \u200b.": `\U000e0001 and \u200b.`,
	} {
		got := Printable(s)
		if got != want {
			t.Errorf("%q is %q, not %q", s, got, want)
		}
		if again := Printable(got); again != got {
			t.Errorf("%q is %q when it is made printable again", got, again)
		}
	}
}

func TestShortened(t *testing.T) {
	for s, want := range map[string]string{"": "", "abcd": "abcd", "abcde": "abcd…", "abcéf": "abc…"} {
		if got := Shortened(s, 4); got != want || !utf8.ValidString(got) {
			t.Errorf("%q is %q, not %q", s, got, want)
		}
	}
	if got := Shortened(strings.Repeat("é", 100), 4); got != "éé…" {
		t.Errorf("%q", got)
	}
}
