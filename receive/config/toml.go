package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"ostree-push/report"
)

// readTOML reads the TOML file, of which content is the content.
// https://toml.io/en/v1.0.0
func readTOML(file string, content []byte) (*document, error) {
	if !utf8.Valid(content) {
		return nil, fmt.Errorf("%s: is not UTF-8", file)
	}
	var top map[string]toml.Primitive
	md, err := toml.Decode(string(content), &top)
	if err != nil {
		return nil, tomlError(file, err)
	}
	r := tomlReader{file, md}
	doc := &document{}
	if repos, ok := top[reposOption]; ok {
		delete(top, reposOption)
		doc.hasRepos = true
		if doc.repos, err = r.repos(repos); err != nil {
			return nil, err
		}
	}
	doc.options, err = r.options(top, "")
	return doc, err
}

type tomlReader struct {
	file string
	md   toml.MetaData
}

// capture takes any value, and refuses it, since what has been refused has a
// position.
type capture struct{ v any }

var errCaptured = errors.New("captured")

func (c *capture) UnmarshalTOML(v any) error {
	c.v = v
	return errCaptured
}

// value returns what is there, and where.
func (r tomlReader) value(p toml.Primitive) (any, place) {
	var c capture
	err := r.md.PrimitiveDecode(p, &c)
	at := place{file: r.file}
	if parseErr := (toml.ParseError{}); errors.As(err, &parseErr) {
		at.line = parseErr.Position.Line
	}
	return c.v, at
}

// options reads those of a table, which prefix names in errors.
func (r tomlReader) options(table map[string]toml.Primitive, prefix string) (settings, error) {
	read := settings{}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		v, at := r.value(table[name])
		o, ok := find(name, prefix != "")
		if !ok {
			return nil, optionError(at, prefix+report.Printable(report.Shortened(name, maxName)), errors.New("unknown option"))
		}
		v = tomlStrings(v)
		// TOML has no null.
		if v == false && o.fallback == nil {
			v = nil
		}
		if err := o.check(v); err != nil {
			return nil, optionError(at, prefix+name, err)
		}
		read[name] = value{v, at}
	}
	return read, nil
}

// tomlStrings returns an array of strings as a []string, and anything else as
// it is.
func tomlStrings(v any) any {
	array, ok := v.([]any)
	if !ok {
		return v
	}
	all := make([]string, len(array))
	for i, element := range array {
		if all[i], ok = element.(string); !ok {
			return v
		}
	}
	return all
}

func (r tomlReader) repos(p toml.Primitive) ([]repoSettings, error) {
	tables, _, err := r.table(p, reposOption, "repositories")
	if err != nil {
		return nil, err
	}
	var all []repoSettings
	for _, path := range slices.Sorted(maps.Keys(tables)) {
		name := fmt.Sprintf("%s.%s", reposOption, bounded(path))
		table, at, err := r.table(tables[path], name, "options")
		if err != nil {
			return nil, err
		}
		if err := checkText(path); err != nil {
			return nil, optionError(at, name, err)
		}
		options, err := r.options(table, name+".")
		if err != nil {
			return nil, err
		}
		all = append(all, repoSettings{path, at, options})
	}
	return all, nil
}

// table returns the table that is there. (Anything else, the library would
// decode into an empty one.)
func (r tomlReader) table(p toml.Primitive, name, of string) (map[string]toml.Primitive, place, error) {
	v, at := r.value(p)
	if _, ok := v.(map[string]any); !ok {
		return nil, at, optionError(at, name, fmt.Errorf("must be a table of %s", of))
	}
	var table map[string]toml.Primitive
	if err := r.md.PrimitiveDecode(p, &table); err != nil {
		return nil, at, optionError(at, name, err)
	}
	return table, at, nil
}

// tomlError gives an error of the TOML library the form of ours.
func tomlError(file string, err error) error {
	var parseErr toml.ParseError
	if !errors.As(err, &parseErr) {
		return fmt.Errorf("%s: %w", file, err)
	}
	return fmt.Errorf("%s:%d: %s", file, parseErr.Position.Line, parseErr.Message)
}
