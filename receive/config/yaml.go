package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"ostree-push/report"
)

// readYAML reads the YAML file, of which content is the content, as PyYAML's
// safe_load does: YAML 1.1, where yes is true (https://yaml.org/type/).
func readYAML(file string, content []byte) (*document, error) {
	r := &yamlReader{file: file, doc: &document{options: settings{}}}
	if !utf8.Valid(content) {
		return nil, fmt.Errorf("%s: is not UTF-8", file)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var top yaml.Node
	err := decoder.Decode(&top)
	if errors.Is(err, io.EOF) {
		return r.doc, nil
	}
	if err != nil {
		return nil, r.syntaxError(err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, r.syntaxError(err)
		}
		return nil, fmt.Errorf("%s: there is more than one document in it", file)
	}
	root := resolve(&top)
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = resolve(root.Content[0])
	}
	if kindOf(root) == yamlNull {
		return r.doc, nil
	}
	if kindOf(root) != yamlMapping {
		return nil, fmt.Errorf("Config file %s is not a YAML mapping", file)
	}
	pairs, err := r.pairs(root)
	if err != nil {
		return nil, err
	}
	return r.doc, r.read(pairs)
}

type yamlReader struct {
	file string
	doc  *document
}

func (r *yamlReader) at(n *yaml.Node) place { return place{file: r.file, line: n.Line} }

// yamlLine is how the library says where an error is.
var yamlLine = regexp.MustCompile(`\Ayaml: (?:line (\d+): )?`)

func (r *yamlReader) syntaxError(err error) error {
	at := place{file: r.file}
	match := yamlLine.FindStringSubmatch(err.Error())
	if match == nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	at.line, _ = strconv.Atoi(match[1])
	return fmt.Errorf("%s: %s", at, err.Error()[len(match[0]):])
}

// pair is an entry of a mapping.
type pair struct {
	key, value *yaml.Node
}

func (p pair) name() string { return p.key.Value }

// Bounds of what mappings may be merged, with aliases, into one.
const (
	maxDeep  = 100
	maxPairs = 10000
)

// pairs returns the entries of a mapping, with those that are merged into it
// (<<). Of a key that is there twice the last one counts.
func (r *yamlReader) pairs(mapping *yaml.Node) ([]pair, error) {
	left := maxPairs
	return r.pairsWithin(mapping, maxDeep, &left)
}

func (r *yamlReader) pairsWithin(mapping *yaml.Node, deep int, left *int) ([]pair, error) {
	var own, merged []pair
	index := map[string]int{}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		p := pair{resolve(mapping.Content[i]), resolve(mapping.Content[i+1])}
		if p.key.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("%s: a key is no word", r.at(mapping.Content[i]))
		}
		if p.name() == "<<" && p.key.Style == 0 {
			more, err := r.merged(p.value, deep, left)
			if err != nil {
				return nil, err
			}
			merged = append(merged, more...)
			continue
		}
		if i, ok := index[p.name()]; ok {
			r.warn("%s: %s was set in line %d already, which does not count", r.at(p.key), bounded(p.name()), own[i].key.Line)
			own[i] = p
			continue
		}
		index[p.name()] = len(own)
		own = append(own, p)
	}
	// The mapping's own, and of several merged ones the first, win.
	for _, p := range merged {
		if _, ok := index[p.name()]; !ok {
			index[p.name()] = len(own)
			own = append(own, p)
		}
	}
	return own, nil
}

func (r *yamlReader) merged(n *yaml.Node, deep int, left *int) ([]pair, error) {
	mappings := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		mappings = n.Content
	}
	var all []pair
	for _, m := range mappings {
		m = resolve(m)
		if kindOf(m) != yamlMapping {
			return nil, fmt.Errorf("%s: << merges what is no mapping", r.at(m))
		}
		if *left -= len(m.Content) + 1; deep == 0 || *left < 0 {
			return nil, fmt.Errorf("%s: too many mappings are merged", r.at(m))
		}
		more, err := r.pairsWithin(m, deep-1, left)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (r *yamlReader) read(pairs []pair) error {
	for _, p := range pairs {
		if p.name() == reposOption {
			if err := r.repos(p.value); err != nil {
				return err
			}
			continue
		}
		known, err := r.option(r.doc.options, p, "")
		if err != nil {
			return err
		}
		if !known {
			r.warn("Unrecognized option %s in config file %s", report.Printable(report.Shortened(p.name(), maxName)), r.file)
		}
	}
	return nil
}

func (r *yamlReader) warn(format string, args ...any) {
	r.doc.warnings = append(r.doc.warnings, fmt.Sprintf(format, args...))
}

// option reads one option, if it is known.
func (r *yamlReader) option(into settings, p pair, prefix string) (known bool, err error) {
	o, ok := find(p.name(), prefix != "")
	if !ok {
		return false, nil
	}
	at := r.at(p.key)
	v, err := yamlValue(p.value, o.kind)
	if err == nil {
		err = o.check(v)
	}
	if err != nil {
		return true, optionError(at, prefix+o.name, err)
	}
	into[o.name] = value{v, at}
	return true, nil
}

func (r *yamlReader) repos(n *yaml.Node) error {
	r.doc.hasRepos = true
	if kindOf(n) != yamlMapping {
		return optionError(r.at(n), reposOption, errors.New("must be a mapping of repositories"))
	}
	pairs, err := r.pairs(n)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		at := r.at(p.key)
		name := fmt.Sprintf("%s.%s", reposOption, bounded(p.name()))
		path, err := yamlValue(p.key, text)
		if err == nil {
			path, _ := path.(string)
			err = checkText(path)
		}
		if err != nil {
			return optionError(at, name, err)
		}
		entry := repoSettings{path: p.name(), at: at, options: settings{}}
		if err := r.repo(p.value, &entry, name+"."); err != nil {
			return err
		}
		r.doc.repos = append(r.doc.repos, entry)
	}
	return nil
}

// repo reads an entry of repos.
func (r *yamlReader) repo(n *yaml.Node, entry *repoSettings, prefix string) error {
	if kindOf(n) == yamlNull {
		return nil
	}
	if kindOf(n) != yamlMapping {
		return optionError(r.at(n), prefix[:len(prefix)-1], errors.New("must be a mapping of options"))
	}
	pairs, err := r.pairs(n)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		known, err := r.option(entry.options, p, prefix)
		if err != nil {
			return err
		}
		if !known {
			r.warn("Unrecognized option %s of repos %s in config file %s", report.Printable(report.Shortened(p.name(), maxName)), report.Printable(report.Shortened(entry.path, maxName)), r.file)
		}
	}
	return nil
}

// yamlValue returns the value of a node for an option of that kind.
func yamlValue(n *yaml.Node, k kind) (any, error) {
	if kindOf(n) == yamlList && k == list {
		all := []string{}
		for _, element := range n.Content {
			v, err := yamlValue(resolve(element), text)
			if err != nil {
				return nil, err
			}
			s, ok := v.(string)
			if !ok {
				return nil, errors.New("has an empty element")
			}
			all = append(all, s)
		}
		return all, nil
	}
	switch found := kindOf(n); {
	case found == yamlNull:
		return nil, nil
	case found == yamlString && k == text:
		return n.Value, nil
	case found == yamlInt && k == number:
		n, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("must be %s", k)
		}
		return n, nil
	case found == yamlBool && k == flag && yamlTrue.MatchString(n.Value):
		return true, nil
	case found == yamlBool && k == flag && yamlFalse.MatchString(n.Value):
		return false, nil
	case k == text && n.Kind == yaml.ScalarNode:
		return nil, fmt.Errorf("must be %s, and %s is %s: put it in quotes", k, bounded(n.Value), found)
	default:
		return nil, fmt.Errorf("must be %s, not %s", k, found)
	}
}

// yamlKind is what PyYAML takes a node for.
type yamlKind string

const (
	yamlNull      yamlKind = "nothing"
	yamlBool      yamlKind = "true or false"
	yamlInt       yamlKind = "a number"
	yamlTimestamp yamlKind = "a date"
	yamlString    yamlKind = "a string"
	yamlList      yamlKind = "a list"
	yamlMapping   yamlKind = "a mapping"
	yamlOther     yamlKind = "something else"
)

// What plain scalars are in YAML 1.1 (https://yaml.org/type/, and the implicit
// resolvers of PyYAML, for which 1e5 is a string).
var (
	yamlTrue   = regexp.MustCompile(`\A(?:yes|Yes|YES|true|True|TRUE|on|On|ON)\z`)
	yamlFalse  = regexp.MustCompile(`\A(?:no|No|NO|false|False|FALSE|off|Off|OFF)\z`)
	yamlPlains = []struct {
		pattern *regexp.Regexp
		kind    yamlKind
	}{
		{regexp.MustCompile(`\A(?:~|null|Null|NULL|)\z`), yamlNull},
		{yamlTrue, yamlBool},
		{yamlFalse, yamlBool},
		{regexp.MustCompile(`\A(?:[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)\z`), yamlInt},
		{regexp.MustCompile(`\A(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\z`), yamlInt},
		{regexp.MustCompile(`\A[0-9]{4}-[0-9]{2}-[0-9]{2}\z`), yamlTimestamp},
		{regexp.MustCompile(`\A[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?\z`), yamlTimestamp},
		{regexp.MustCompile(`\A(?:<<|=)\z`), yamlOther},
	}
	yamlTags = map[string]yamlKind{
		"!!bool": yamlBool, "!!int": yamlInt, "!!float": yamlInt, "!!timestamp": yamlTimestamp, "!!str": yamlString,
		"!!seq": yamlList, "!!map": yamlMapping,
	}
)

func kindOf(n *yaml.Node) yamlKind {
	switch {
	case n.Kind == 0:
		return yamlNull
	case n.Style&yaml.TaggedStyle != 0:
		if k, ok := yamlTags[n.ShortTag()]; ok {
			return k
		}
		return yamlOther
	case n.Kind == yaml.SequenceNode:
		return yamlList
	case n.Kind == yaml.MappingNode:
		return yamlMapping
	case n.Kind != yaml.ScalarNode:
		return yamlOther
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return yamlString
	}
	for _, plain := range yamlPlains {
		if plain.pattern.MatchString(n.Value) {
			return plain.kind
		}
	}
	return yamlString
}
