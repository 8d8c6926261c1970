package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
)

// A quantity was measured, in seconds or bytes, or calculated from what was.
// It can be known only that it is at least so much.
type quantity struct {
	value  float64
	orMore bool
}

// A target is what a contender has to reach in some cells.
type target struct {
	cases     []string
	links     func(key) bool
	contender string
	bytes     bool // not seconds
	measure   func(*result) (quantity, error)
	says      string
	limit     func(*results, key) (quantity, error)
}

// targets returns all targets, which docs/benchmark.md explains.
func targets() []target {
	return append(memoryTargets(), timeTargets()...)
}

func timeTargets() []target {
	bulk := []string{"many", "big"}
	all := []string{"many", "big", "update", "none", "dry", "object"}
	return []target{
		{cases: bulk, links: loopback, contender: ours, measure: (*result).seconds,
			says: rsyncSync, limit: timesContender(1, rsyncSync)},
		{cases: bulk, links: remote, contender: ours, measure: (*result).seconds,
			says: "1.25 × (setup + 4 round trips + max(bytes ÷ rate, time at 0 ms))", limit: transfer},
		{cases: bulk, links: remote, contender: ours, measure: (*result).seconds,
			says: rsyncSync, limit: timesContender(1, rsyncSync)},
		{cases: []string{"update"}, links: everywhere, contender: ours, measure: (*result).seconds,
			says: "0.5 × rsync", limit: timesContender(0.5, rsync)},
		{cases: []string{"update"}, links: everywhere, contender: ours, bytes: true, measure: (*result).wire,
			says: "1.2 × changed objects", limit: changedBytes},
		{cases: []string{"none"}, links: everywhere, contender: ours, measure: (*result).seconds,
			says: "setup + 3 round trips", limit: connection},
		{cases: []string{"dry"}, links: everywhere, contender: ours, measure: (*result).seconds,
			says: "setup + 3 round trips + list ÷ rate", limit: connectionAndList},
		{cases: []string{"object"}, links: loopback, contender: ours, measure: (*result).seconds,
			says: rsyncSync, limit: timesContender(1, rsyncSync)},
		{cases: []string{"object"}, links: remote, contender: ours, measure: (*result).seconds,
			says: "1.25 × (setup + 4 round trips + bytes ÷ rate)", limit: transferAtRate},
		{cases: []string{"resume"}, links: everywhere, contender: ours, bytes: true, measure: (*result).wire,
			says: "object − what had arrived + 8 MB", limit: rest},
		{cases: []string{"refs-changed", "refs-same"}, links: everywhere, contender: ours, measure: (*result).seconds,
			says: "1.2 × the same with one ref", limit: withOneRef},
		{cases: []string{"refs-all"}, links: everywhere, contender: ours, measure: (*result).seconds,
			says: "setup + 4 round trips + 1.5 s", limit: connectionAndRefs},
		{cases: []string{"refs-all"}, links: everywhere, contender: ours, bytes: true, measure: (*result).wire,
			says: "4 MB: no commits", limit: refsWithoutCommits},
		{cases: all, links: everywhere, contender: tunnel, measure: (*result).seconds,
			says: "python", limit: timesContender(1, python)},
		{cases: all, links: everywhere, contender: tunnelPython, measure: (*result).seconds,
			says: "python", limit: timesContender(1, python)},
	}
}

func everywhere(key) bool { return true }
func loopback(k key) bool { return k.RTT == 0 }
func remote(k key) bool   { return k.RTT != 0 }

// secondsOf returns the median of a contender in a cell.
func (res *results) secondsOf(contender string, k key) (quantity, error) {
	var q quantity
	err := errors.New("not measured")
	if c := res.find(k); c != nil {
		q, err = c.Results[contender].seconds()
	}
	if err != nil {
		return quantity{}, fmt.Errorf("%s, %s: %w", contender, k, err)
	}
	return q, nil
}

func timesContender(factor float64, contender string) func(*results, key) (quantity, error) {
	return func(res *results, k key) (quantity, error) {
		q, err := res.secondsOf(contender, k)
		q.value *= factor
		return q, err
	}
}

// setup returns what a connection takes over the link, and some round trips.
func setup(res *results, k key, roundTrips float64) (quantity, error) {
	q, err := res.secondsOf(ssh, key{"setup", k.RTT, k.Rate})
	q.value += roundTrips * k.RTT.Seconds()
	return q, err
}

func connection(res *results, k key) (quantity, error) { return setup(res, k, 3) }

// entrySize is what one object takes in a list of objects: its type and its
// checksum. Commits are not in it.
const entrySize = 1 + 32

func connectionAndList(res *results, k key) (quantity, error) {
	q, err := setup(res, k, 3)
	l, ok := res.Loads[k.Case]
	if !ok {
		err = errors.Join(err, errNoLoad)
	}
	q.value += k.secondsFor(entrySize * float64(l.Objects-l.Commits))
	return q, err
}

// transfer allows for what any program would need: the bytes are those of the
// objects, so that it gains nothing by sending more.
func transfer(res *results, k key) (quantity, error) {
	q, err := setup(res, k, 4)
	near, nearErr := res.secondsOf(ours, key{Case: k.Case})
	l, ok := res.Loads[k.Case]
	if !ok {
		nearErr = errors.Join(nearErr, errNoLoad)
	}
	q.value = 1.25 * (q.value + max(k.secondsFor(float64(l.Bytes)), near.value))
	q.orMore = q.orMore || near.orMore
	return q, errors.Join(err, nearErr)
}

// transferAtRate is transfer without what a contender itself takes.
func transferAtRate(res *results, k key) (quantity, error) {
	q, err := setup(res, k, 4)
	l, ok := res.Loads[k.Case]
	if !ok {
		err = errors.Join(err, errNoLoad)
	}
	q.value = 1.25 * (q.value + k.secondsFor(float64(l.Bytes)))
	return q, err
}

// rest is what has to be sent after an interruption. Where the runs differ, the one
// that had brought most sets the limit.
func rest(res *results, k key) (quantity, error) {
	l, ok := res.Loads[k.Case]
	if !ok {
		return quantity{}, errNoLoad
	}
	arrived := res.find(k).Results[ours].Arrived
	if len(arrived) == 0 {
		return quantity{}, errors.New("it is not known what had arrived")
	}
	const again = 8e6
	if err := l.reaches(load{Bytes: 2 * again}); err != nil {
		return quantity{}, err
	}
	return quantity{value: float64(l.Bytes-slices.Max(arrived)) + again}, nil
}

func withOneRef(res *results, k key) (quantity, error) {
	q, err := timesContender(1.2, ours)(res, key{strings.Replace(k.Case, "refs-", "refs1-", 1), k.RTT, k.Rate})
	return q, errors.Join(err, res.hasRefs(k))
}

func connectionAndRefs(res *results, k key) (quantity, error) {
	q, err := setup(res, k, 4)
	q.value += 1.5
	return q, errors.Join(err, res.hasRefs(k))
}

func refsWithoutCommits(res *results, k key) (quantity, error) {
	return quantity{value: 4e6}, res.hasRefs(k)
}

// hasRefs is an error if a case has so few refs that a target would say nothing.
func (res *results) hasRefs(k key) error { return res.Loads[k.Case].reaches(load{Refs: 20_000}) }

var errNoLoad = errors.New("the size of the objects is not known")

func changedBytes(res *results, k key) (quantity, error) {
	l, ok := res.Loads[k.Case]
	if !ok {
		return quantity{}, errNoLoad
	}
	return quantity{value: 1.2 * float64(l.Bytes)}, nil
}

// memoryTargets are for both sides. They would say nothing of less than what they are for.
func memoryTargets() []target {
	var all []target
	for _, of := range []struct {
		name  string
		megas int
		least load
	}{
		{"memory", 200, load{Objects: 1_000_000}},
		{"memory-archive", 100, load{Bytes: 10e9}},
		{"memory-bare", 100, load{Bytes: 10e9}},
		{"memory-refs", 100, load{Refs: 20_000}},
	} {
		limit := func(res *results, k key) (quantity, error) {
			return quantity{value: float64(of.megas) * 1e6}, res.Loads[k.Case].reaches(of.least)
		}
		side := target{cases: []string{of.name}, links: loopback, contender: ours, bytes: true, limit: limit}
		pusher, receiver := side, side
		pusher.says, pusher.measure = fmt.Sprintf("%d MB in the pusher", of.megas), (*result).pusherPeak
		receiver.says, receiver.measure = fmt.Sprintf("%d MB in the receiver", of.megas), (*result).receiverPeak
		all = append(all, pusher, receiver)
	}
	return all
}

// reaches is an error if a load is less than a target is for.
func (l load) reaches(least load) error {
	switch {
	case l.Objects < least.Objects:
		return fmt.Errorf("%s objects are too few", humanize.Comma(int64(l.Objects)))
	case l.Refs < least.Refs:
		return fmt.Errorf("%s refs are too few", humanize.Comma(int64(l.Refs)))
	case l.Bytes < least.Bytes:
		return fmt.Errorf("%s are too few", bytesString(l.Bytes))
	}
	return nil
}

// secondsFor returns how long the link takes for so many bytes.
func (k key) secondsFor(bytes float64) float64 {
	if k.Rate == 0 {
		return 0
	}
	return bytes * 8 / float64(k.Rate)
}

// An outcome says whether a target was met.
type outcome string

const (
	met     outcome = "met"
	notMet  outcome = "not met"
	unknown outcome = "unknown"
)

// A verdict is what became of a target in a cell.
type verdict struct {
	target
	cell     key
	measured quantity
	limit    quantity
	outcome  outcome
	why      error // of an unknown outcome, or of one that is not met for want of a result
}

// verdicts judges every target in every cell that was measured.
func (res *results) verdicts() []verdict {
	var all []verdict
	for _, c := range res.Cells {
		for _, t := range targets() {
			if slices.Contains(t.cases, c.Case) && t.links(c.key) && c.Results[t.contender] != nil {
				all = append(all, res.judge(t, c))
			}
		}
	}
	return all
}

func (res *results) judge(t target, c *cell) verdict {
	v := verdict{target: t, cell: c.key, outcome: unknown}
	r := c.Results[t.contender]
	v.measured, v.why = t.measure(r)
	if v.why != nil {
		if r.Error != "" {
			v.outcome = notMet
		}
		return v
	}
	limit, err := t.limit(res, c.key)
	if err != nil {
		v.why = err
		return v
	}
	v.limit, v.outcome = limit, compare(v.measured, limit)
	return v
}

// compare tells whether what was measured is within the limit.
func compare(measured, limit quantity) outcome {
	switch within := measured.value <= limit.value; {
	case within && !measured.orMore:
		return met
	case !within && !limit.orMore:
		return notMet
	}
	return unknown
}
