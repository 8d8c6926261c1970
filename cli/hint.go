package cli

import (
	"errors"
	"fmt"
	"io"
)

// hinted is an error of which it is known what to do about it.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }

// Hint adds to an error what to do next, which is not part of its text: that is
// parsed, and kept. It returns nil if err is nil.
func Hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// Hints returns what an error says about what to do next.
func Hints(err error) (hints []string) {
	var h *hinted
	for errors.As(err, &h) {
		hints = append(hints, h.hint)
		err = h.error
	}
	return hints
}

// PrintHints prints what an error says about what to do next, if anything.
func PrintHints(w io.Writer, name string, err error) {
	for _, hint := range Hints(err) {
		fmt.Fprintf(w, "%s: hint: %s\n", name, hint)
	}
}
