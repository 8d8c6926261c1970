package config

import (
	"bytes"
	"fmt"
	"io"

	"github.com/BurntSushi/toml"
)

// WriteTOML writes the policy for one repository as TOML, every option with a
// comment that says where it is from. Load reads it as the same policy.
func (c *Config) WriteTOML(w io.Writer) error {
	values := settings{}
	for _, o := range options() {
		values[o.name] = o.preset(c.from)
	}
	values.override(c.values)
	return writeOptions(w, values)
}

// WriteTOML writes the policy for all repositories, and what is different for
// some of them.
func (p *Policy) WriteTOML(w io.Writer) error {
	if err := p.global.WriteTOML(w); err != nil {
		return err
	}
	for _, repo := range p.repos {
		var name bytes.Buffer
		// A key is quoted as a string is.
		if err := encode(&name, repo.path); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "\n# %s\n[repos.%s]\n", repo.at, &name); err != nil {
			return err
		}
		if err := writeOptions(w, repo.options); err != nil {
			return err
		}
	}
	return nil
}

// writeOptions writes the options that have a value, or a default.
func writeOptions(w io.Writer, values settings) error {
	for _, o := range options() {
		v, ok := values[o.name]
		if !ok {
			continue
		}
		var err error
		if v.v == nil && v.at != (place{}) {
			_, err = fmt.Fprintf(w, "%s = false # %s\n", o.name, v.at)
		} else if v.v == nil {
			_, err = fmt.Fprintf(w, "# %s is not set # %s\n", o.name, v.at)
		} else {
			var text bytes.Buffer
			if err := encode(&text, v.v); err != nil {
				return err
			}
			_, err = fmt.Fprintf(w, "%s = %s # %s\n", o.name, &text, v.at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// encode writes a value as TOML has it.
func encode(w *bytes.Buffer, v any) error {
	var line bytes.Buffer
	if err := toml.NewEncoder(&line).Encode(map[string]any{"v": v}); err != nil {
		return err
	}
	w.Write(bytes.TrimSpace(bytes.TrimPrefix(line.Bytes(), []byte("v = "))))
	return nil
}
