package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable returns s with everything escaped that could do something to a terminal, or end a line of a log, and
// everything else as it is. So it changes nothing that it has made printable already: what is said goes
// through more than one hand.
func Printable(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, notPrintable) < 0 {
		return s
	}
	var out strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			// Some terminals take a byte for a control character.
			fmt.Fprintf(&out, `\x%02x`, s[0])
		case notPrintable(r):
			out.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			out.WriteRune(r)
		}
		s = s[size:]
	}
	return out.String()
}

func notPrintable(r rune) bool { return !unicode.IsPrint(r) }

// Shortened returns s, and of what is longer than most bytes the beginning.
func Shortened(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
