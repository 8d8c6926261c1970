package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"ostree-push/internal/link"
)

// A cell is one case over one link: a row of the table.
type cell struct {
	Case    string             `json:"case"`
	RTT     float64            `json:"rtt_seconds"`
	Rate    int64              `json:"rate_bits_per_second"`
	Results map[string]*result `json:"results"`

	link link.Link
}

// A result is what became of a contender's runs in a cell.
type result struct {
	Seconds []float64 `json:"seconds"`
	Timeout float64   `json:"timed_out_after_seconds,omitempty"`
	Error   string    `json:"error,omitempty"`
}

func newCell(name string, l link.Link, contenders []*contender) *cell {
	c := &cell{Case: name, RTT: l.RTT.Seconds(), Rate: l.Rate, Results: map[string]*result{}, link: l}
	for _, contender := range contenders {
		c.Results[contender.name] = &result{}
	}
	return c
}

// measure runs the contenders in turn, so that what slows the machine down for
// a while slows all of them.
func (c *cell) measure(ctx context.Context, opts *options, contenders []*contender, sets map[string]dataset, work string) error {
	for n := range opts.runs {
		for _, contender := range contenders {
			r := c.Results[contender.name]
			if r.Error != "" || r.Timeout != 0 || slices.Max(append(r.Seconds, 0)) > opts.enough.Seconds() {
				continue
			}
			took, err := c.once(ctx, opts, contender, sets, work)
			var failed *failure
			switch {
			case err == nil:
				r.Seconds = append(r.Seconds, took.Seconds())
				logf("%s, %s, %s, run %d: %.2f s", c.Case, c.describe(), contender.name, n+1, took.Seconds())
			case errors.As(err, &failed):
				if errors.Is(err, errTimeout) {
					r.Timeout = opts.timeout.Seconds()
				} else {
					r.Error = err.Error()
				}
				logf("%s, %s, %s, run %d: %v", c.Case, c.describe(), contender.name, n+1, err)
			default:
				return err
			}
		}
	}
	return nil
}

// A failure is the contender's, and not the benchmark's.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

// once makes a repository for the contender, lets it push there, and looks
// whether it did. Only the push is timed.
func (c *cell) once(ctx context.Context, opts *options, contender *contender, sets map[string]dataset, work string) (time.Duration, error) {
	p := pushes()[c.Case]
	from := sets[p.from]
	dir, err := os.MkdirTemp(work, "remote-")
	if err != nil {
		return 0, err
	}
	defer empty(dir)
	to := filepath.Join(dir, "repo")
	if p.base == "" {
		err = ostree(ctx, to, "init", "--mode=archive")
	} else {
		err = copyRepo(ctx, sets[p.base].repo, to)
	}
	if err != nil {
		return 0, fmt.Errorf("make repository: %w", err)
	}

	port := contender.server.Port()
	if c.link != (link.Link{}) {
		proxy, err := c.link.Proxy(ctx, net.JoinHostPort(contender.server.Host(), strconv.Itoa(port)))
		if err != nil {
			return 0, err
		}
		defer proxy.Close()
		port = proxy.Addr.Port
	}

	// Nobody should wait for the disk for what was written before.
	unix.Sync()
	took, err := contender.run(ctx, opts.timeout, contender.command(port, from.repo, to), work)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err == nil {
		err = verify(ctx, contender, from, to)
	}
	if err != nil {
		return 0, &failure{err}
	}
	return took, nil
}

// verify makes sure that everything arrived, lest a push that fails look fast.
func verify(ctx context.Context, contender *contender, from dataset, to string) error {
	objects, _, err := countObjects(to)
	if err != nil {
		return err
	}
	if objects < from.objects {
		return fmt.Errorf("only %d of %d objects arrived", objects, from.objects)
	}
	if contender.name == "rsync" {
		return nil // it copies objects, and no refs
	}
	content, err := contentOf(ctx, to)
	if err != nil {
		return err
	}
	if content != from.content {
		return fmt.Errorf("%s has another content", ref)
	}
	return nil
}

func (c *cell) describe() string {
	return fmt.Sprintf("%v, %s", c.link.RTT, rateString(c.Rate))
}

func rateString(rate int64) string {
	if rate == 0 {
		return "unlimited"
	}
	value, prefix := humanize.ComputeSI(float64(rate))
	return fmt.Sprintf("%g %sbit/s", value, prefix)
}

// median returns false where there is none.
func (r *result) median() (float64, bool) {
	if r == nil || r.Error != "" || r.Timeout != 0 || len(r.Seconds) == 0 {
		return 0, false
	}
	s := slices.Sorted(slices.Values(r.Seconds))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2, true
}

func (r *result) String() string {
	switch m, ok := r.median(); {
	case r.Error != "":
		return "failed: " + strings.ReplaceAll(r.Error, "|", `\|`)
	case r.Timeout != 0:
		return fmt.Sprintf(">%g s", r.Timeout)
	case ok:
		return fmt.Sprintf("%.2f", m)
	}
	return ""
}

func printTable(w io.Writer, cells []*cell, contenders []*contender, sets map[string]dataset) {
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		fmt.Fprintf(w, "%s: %v\n", name, sets[name])
	}
	var others []string // whose ratio to rsync is told
	head := []string{"case", "RTT", "rate"}
	for _, c := range contenders {
		head = append(head, c.name)
		if c.name != "rsync" {
			others = append(others, c.name)
		}
	}
	for _, name := range others {
		head = append(head, name+"/rsync")
	}
	fmt.Fprintf(w, "\nMedians in seconds.\n\n")
	row := func(columns []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(columns, " | ")) }
	row(head)
	rule := slices.Repeat([]string{"---:"}, len(head))
	rule[0] = "---"
	row(rule)
	for _, c := range cells {
		columns := []string{c.Case, c.link.RTT.String(), rateString(c.Rate)}
		for _, contender := range contenders {
			columns = append(columns, c.Results[contender.name].String())
		}
		base, ok := c.Results["rsync"].median()
		for _, name := range others {
			ratio := ""
			if m, has := c.Results[name].median(); ok && has {
				ratio = fmt.Sprintf("%.2f", m/base)
			}
			columns = append(columns, ratio)
		}
		row(columns)
	}
}

func writeJSON(file string, cells []*cell) error {
	text, err := json.MarshalIndent(cells, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
