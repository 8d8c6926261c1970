package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"ostree-push/internal/link"
)

// Results are all that was measured, as a file keeps it.
type results struct {
	Environment string          `json:"environment"`
	Loads       map[string]load `json:"loads"` // by case
	Cells       []*cell         `json:"cells"`
}

// A cell is one case over one link.
type cell struct {
	key
	Results map[string]*result `json:"results"` // by contender
}

type key struct {
	Case string        `json:"case"`
	RTT  time.Duration `json:"rtt_ns"`
	Rate int64         `json:"rate_bits_per_second"`
}

func (k key) link() link.Link { return link.Link{RTT: k.RTT, Rate: k.Rate} }

func (k key) String() string { return k.Case + ", " + describe(k.link()) }

// A result is what became of a contender's runs in a cell.
type result struct {
	Seconds []float64 `json:"seconds,omitempty"`

	// What entered the link towards the server and from it, in each run.
	Sent     []int64 `json:"sent_bytes,omitempty"`
	Received []int64 `json:"received_bytes,omitempty"`

	// What of an interrupted push had come out of the link at the server, before each run.
	Arrived []int64 `json:"arrived_bytes,omitempty"`

	// The most memory that the program of either side took.
	PusherPeak   int64 `json:"pusher_peak_bytes,omitempty"`
	ReceiverPeak int64 `json:"receiver_peak_bytes,omitempty"`

	Over    float64 `json:"over_seconds,omitempty"` // it was ended after that time
	LeftOut string  `json:"left_out,omitempty"`     // why that is known without a run
	Error   string  `json:"error,omitempty"`
}

// seconds returns the median.
func (r *result) seconds() (quantity, error) {
	switch {
	case r == nil:
		return quantity{}, errors.New("not measured")
	case r.Error != "":
		return quantity{}, errors.New("failed")
	case r.Over != 0:
		return quantity{value: r.Over, orMore: true}, nil
	}
	return medianOf(r.Seconds)
}

// pusherPeak returns the memory of the program that was run.
func (r *result) pusherPeak() (quantity, error) { return r.peak(r.PusherPeak) }

// receiverPeak returns the memory of the program that it ran on the server.
func (r *result) receiverPeak() (quantity, error) { return r.peak(r.ReceiverPeak) }

func (r *result) peak(bytes int64) (quantity, error) {
	switch {
	case r.Error != "":
		return quantity{}, errors.New("failed")
	case bytes == 0:
		return quantity{}, errors.New("not measured")
	}
	return quantity{value: float64(bytes)}, nil
}

// wire returns the median of what went over the link, in both directions.
func (r *result) wire() (quantity, error) {
	if r == nil || len(r.Sent) == 0 || len(r.Sent) != len(r.Received) {
		return quantity{}, errors.New("not measured")
	}
	var sums []float64
	for i := range r.Sent {
		sums = append(sums, float64(r.Sent[i]+r.Received[i]))
	}
	return medianOf(sums)
}

func medianOf(values []float64) (quantity, error) {
	if len(values) == 0 {
		return quantity{}, errors.New("not measured")
	}
	s := slices.Sorted(slices.Values(values))
	return quantity{value: (s[(len(s)-1)/2] + s[len(s)/2]) / 2}, nil
}

func newResults() *results { return &results{Loads: map[string]load{}} }

func readResults(file string) (*results, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	res := newResults()
	if err := json.Unmarshal(text, res); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return res, nil
}

// save writes the file in one step, so that an end in the middle loses nothing.
func (res *results) save(file string) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(res, "", "  ")
	if err != nil {
		return err
	}
	part := file + ".part"
	if err := os.WriteFile(part, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(part, file)
}

// use notes what the cases have to bring. Results of other data sets cannot be
// told together.
func (res *results) use(sets map[string]dataset) error {
	for name, p := range pushes() {
		from, ok := sets[p.from]
		if !ok {
			continue
		}
		base, ok := sets[p.base]
		if !ok && p.base != "" {
			continue
		}
		if err := res.useLoad(name, loadOf(from, base)); err != nil {
			return err
		}
	}
	return nil
}

func (res *results) useLoad(name string, l load) error {
	if had, ok := res.Loads[name]; ok && had != l {
		return fmt.Errorf("%s: the results so far are of another data set (%v, not %v)", name, had, l)
	}
	res.Loads[name] = l
	return nil
}

// find returns the cell, or nil.
func (res *results) find(k key) *cell {
	for _, c := range res.Cells {
		if c.key == k {
			return c
		}
	}
	return nil
}

// result returns that of a contender in a cell, or nil.
func (res *results) result(contender string, k key) *result {
	if c := res.find(k); c != nil {
		return c.Results[contender]
	}
	return nil
}

// cell returns the cell, which is made if it is not there, in its place.
func (res *results) cell(name string, l link.Link) *cell {
	k := key{name, l.RTT, l.Rate}
	if c := res.find(k); c != nil {
		return c
	}
	c := &cell{k, map[string]*result{}}
	res.Cells = append(res.Cells, c)
	slices.SortFunc(res.Cells, func(a, b *cell) int {
		byCase := cmp.Compare(slices.Index(caseNames(), a.Case), slices.Index(caseNames(), b.Case))
		return cmp.Or(byCase, compareLinks(a.link(), b.link()))
	})
	return c
}

// merge adds results, which win over those that are there.
func (res *results) merge(more *results) error {
	for name, l := range more.Loads {
		if err := res.useLoad(name, l); err != nil {
			return err
		}
	}
	if more.Environment != "" {
		res.Environment = more.Environment
	}
	for _, c := range more.Cells {
		to := res.cell(c.Case, c.link())
		for name, r := range c.Results {
			to.Results[name] = r
		}
	}
	return nil
}

// tooSlow returns the cell that shows best that the contender would take longer
// than max in this one: it did so for the same case, over a link that is nowhere
// slower. It returns nil if there is none.
func (res *results) tooSlow(k key, contender string, max time.Duration) (slow *cell, seconds float64) {
	for _, c := range res.Cells {
		if c.key == k || c.Case != k.Case || c.RTT > k.RTT || !atLeast(c.Rate, k.Rate) {
			continue
		}
		q, err := c.Results[contender].seconds()
		if err == nil && q.value >= max.Seconds() && q.value > seconds {
			slow, seconds = c, q.value
		}
	}
	return slow, seconds
}

// atLeast compares rates, of which 0 is unlimited.
func atLeast(a, b int64) bool { return a == 0 || b != 0 && a >= b }

func describe(l link.Link) string {
	if l == (link.Link{}) {
		return "0 ms"
	}
	return fmt.Sprintf("%g ms, %s", milliseconds(l.RTT), rateString(l.Rate))
}

func rateString(rate int64) string {
	if rate == 0 {
		return "unlimited"
	}
	value, prefix := humanize.ComputeSI(float64(rate))
	return fmt.Sprintf("%g %sbit/s", value, prefix)
}

// environment says what was measured with.
func environment(ctx context.Context, opts *options) string {
	parts := []string{fmt.Sprintf("%d processors", runtime.NumCPU())}
	add := func(pattern, name string, args ...string) {
		out, _ := exec.CommandContext(ctx, name, args...).CombinedOutput()
		line, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
		if line := strings.TrimSpace(string(line)); line != "" {
			parts = append(parts, fmt.Sprintf(pattern, line))
		}
	}
	add("%s", "sh", "-c", `. /etc/os-release && echo "$PRETTY_NAME"`)
	add("Linux %s", "uname", "-r")
	add("libostree %s", "sh", "-c", `ostree --version | sed -n "s/^ *Version: '\(.*\)'/\1/p"`)
	add("%s", "sh", "-c", "ssh -V 2>&1 | cut -d, -f1")
	add("%s", "sh", "-c", "rsync --version | sed -n 's/ *version \\([^ ]*\\) .*/ \\1/p'")
	if dir, err := pythonDir(opts); err == nil {
		add("Python's %s", filepath.Join(dir, "ostree-push"), "--version")
	}
	if dir, err := oursDir(opts); err == nil {
		add("ours: %s", filepath.Join(dir, "ostree-push"), "--version")
	}
	if dir, err := beforeDir(opts); err == nil {
		add("before: %s", filepath.Join(dir, "ostree-push"), "--version")
	}
	return strings.Join(parts, ", ")
}
