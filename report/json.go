package report

import (
	"encoding/json"
	"io"
)

// WriteJSON writes the result as one JSON document.
func (r Result) WriteJSON(w io.Writer) error {
	if r.Refs == nil {
		r.Refs = []Ref{}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
