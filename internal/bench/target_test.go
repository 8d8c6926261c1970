package main

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"ostree-push/internal/link"
)

var (
	near = link.Link{}
	far  = link.Link{RTT: 50 * time.Millisecond, Rate: 100e6}
	fast = link.Link{RTT: 50 * time.Millisecond, Rate: 1e9}
)

// add adds a cell's result with that median.
func (res *results) add(name string, l link.Link, contender string, seconds float64) *result {
	r := &result{Seconds: []float64{100 * seconds, seconds, 0}}
	res.cell(name, l).Results[contender] = r
	return r
}

// sample returns what the targets of ours depend on.
func sample() *results {
	res := newResults()
	res.Loads = map[string]load{
		"many":   {Objects: 15000, Commits: 1, Bytes: 79e6},
		"update": {Objects: 300, Commits: 1, Bytes: 1e6},
		"dry":    {Objects: 15001, Commits: 1, Bytes: 79e6},
		"object": {Objects: 5, Commits: 1, Bytes: 200e6},
		"resume": {Objects: 5, Commits: 1, Bytes: 200e6},

		"refs-changed": {Refs: 20_000, Objects: 3, Commits: 1},
		"refs-same":    {Refs: 20_000},
		"refs-all":     {Refs: 20_000},
	}
	for _, l := range []link.Link{near, far, fast} {
		res.add("setup", l, ssh, 0.2+8*l.RTT.Seconds())
		for _, name := range []string{"many", "update", "none", "dry", "object"} {
			res.add(name, l, rsync, 100)
			res.add(name, l, rsyncSync, 110)
			res.add(name, l, python, 1000)
		}
		res.add("refs1-changed", l, ours, 0.5)
		res.add("refs1-same", l, ours, 0.4)
	}
	res.add("many", near, ours, 2)
	return res
}

// only returns the verdicts on one cell and contender whose target says that.
func only(t *testing.T, res *results, k key, contender, says string) verdict {
	t.Helper()
	var found []verdict
	for _, v := range res.verdicts() {
		if v.cell == k && v.contender == contender && v.says == says {
			found = append(found, v)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%v, %s, %s: %d verdicts", k, contender, says, len(found))
	}
	return found[0]
}

func TestLimits(t *testing.T) {
	const bulk = "1.25 × (setup + 4 round trips + max(bytes ÷ rate, time at 0 ms))"
	for _, test := range []struct {
		name      string
		link      link.Link
		contender string
		says      string
		limit     float64
	}{
		{"many", near, ours, "rsync-sync", 110},
		{"many", far, ours, "rsync-sync", 110},
		{"many", far, ours, bulk, 1.25 * (0.6 + 0.2 + 6.32)},
		{"many", fast, ours, bulk, 1.25 * (0.6 + 0.2 + 2)},
		{"update", near, ours, "0.5 × rsync", 50},
		{"update", far, ours, "0.5 × rsync", 50},
		{"none", near, ours, "setup + 3 round trips", 0.2},
		{"none", far, ours, "setup + 3 round trips", 0.6 + 0.15},
		{"dry", near, ours, "setup + 3 round trips + list ÷ rate", 0.2},
		{"dry", far, ours, "setup + 3 round trips + list ÷ rate", 0.6 + 0.15 + 0.0396},
		{"object", near, ours, "rsync-sync", 110},
		{"object", far, ours, "1.25 × (setup + 4 round trips + bytes ÷ rate)", 1.25 * (0.6 + 0.2 + 16)},
		{"object", fast, ours, "1.25 × (setup + 4 round trips + bytes ÷ rate)", 1.25 * (0.6 + 0.2 + 1.6)},
		{"object", fast, tunnel, "python", 1000},
		{"refs-changed", far, ours, "1.2 × the same with one ref", 1.2 * 0.5},
		{"refs-same", far, ours, "1.2 × the same with one ref", 1.2 * 0.4},
		{"refs-all", near, ours, "setup + 4 round trips + 1.5 s", 0.2 + 1.5},
		{"refs-all", far, ours, "setup + 4 round trips + 1.5 s", 0.6 + 0.2 + 1.5},
		{"many", far, tunnel, "python", 1000},
		{"none", near, tunnelPython, "python", 1000},
	} {
		for _, is := range []struct {
			factor float64
			want   outcome
		}{{0.999, met}, {1.001, notMet}} {
			res := sample()
			res.add(test.name, test.link, test.contender, is.factor*test.limit)
			v := only(t, res, key{test.name, test.link.RTT, test.link.Rate}, test.contender, test.says)
			if v.outcome != is.want || v.why != nil || math.Abs(v.limit.value-test.limit) > 1e-9 {
				t.Errorf("%v, %s, %s: %g is %s with the limit %g, not %s with %g (%v)",
					v.cell, v.contender, v.says, v.measured.value, v.outcome, v.limit.value, is.want, test.limit, v.why)
			}
		}
	}
}

func TestBytesOfUpdate(t *testing.T) {
	for _, test := range []struct {
		sent, received int64
		want           outcome
	}{{1e6, 199_999, met}, {1e6, 200_001, notMet}} {
		res := sample()
		r := res.add("update", far, ours, 1)
		r.Sent, r.Received = []int64{test.sent}, []int64{test.received}
		v := only(t, res, key{"update", far.RTT, far.Rate}, ours, "1.2 × changed objects")
		if v.outcome != test.want {
			t.Errorf("%d and %d bytes: %s (%v)", test.sent, test.received, v.outcome, v.why)
		}
	}
}

// That nothing is sent again shows on the wire, and fewer refs would show nothing.
func TestBytesOfRefs(t *testing.T) {
	for _, test := range []struct {
		refs int
		sent int64
		want outcome
	}{{20_000, 4e6 - 1000, met}, {20_000, 4e6, notMet}, {19_999, 1, unknown}} {
		res := sample()
		res.Loads["refs-all"] = load{Refs: test.refs}
		r := res.add("refs-all", near, ours, 1)
		r.Sent, r.Received = []int64{test.sent}, []int64{1000}
		if v := only(t, res, key{Case: "refs-all"}, ours, "4 MB: no commits"); v.outcome != test.want {
			t.Errorf("%d refs, %d bytes: %s (%v)", test.refs, test.sent, v.outcome, v.why)
		}
		if v := only(t, res, key{Case: "refs-all"}, ours, "setup + 4 round trips + 1.5 s"); (v.outcome == unknown) != (test.want == unknown) {
			t.Errorf("%d refs: %s (%v)", test.refs, v.outcome, v.why)
		}
	}
}

// What had arrived is not sent again, but for the last of it.
func TestBytesOfResume(t *testing.T) {
	for _, test := range []struct {
		object         int64
		arrived        []int64
		sent, received int64
		want           outcome
		why            string
	}{
		{200e6, []int64{101e6, 100e6}, 107e6 - 1000, 1000, met, ""},
		{200e6, []int64{101e6, 100e6}, 107e6, 1, notMet, ""},
		{200e6, nil, 1, 1, unknown, "it is not known what had arrived"},
		{2e6, []int64{1e6}, 1, 1, unknown, "2 MB are too few"},
	} {
		res := sample()
		res.Loads["resume"] = load{Objects: 5, Commits: 1, Bytes: test.object}
		r := res.add("resume", fast, ours, 1)
		r.Sent, r.Received, r.Arrived = []int64{test.sent}, []int64{test.received}, test.arrived
		v := only(t, res, key{"resume", fast.RTT, fast.Rate}, ours, "object − what had arrived + 8 MB")
		if v.outcome != test.want || (test.why != "" && v.why.Error() != test.why) {
			t.Errorf("%+v: %s (%v)", test, v.outcome, v.why)
		}
	}
}

// What is missing, or failed, does not pass for a target that was met.
func TestWithoutResult(t *testing.T) {
	k := key{Case: "many"}
	for _, test := range []struct {
		name   string
		change func(*results)
		want   outcome
		why    string
	}{
		{"ours failed", func(res *results) { res.find(k).Results[ours].Error = "broken" }, notMet, "failed"},
		{"rsync failed", func(res *results) { res.find(k).Results[rsyncSync].Error = "broken" }, unknown, "rsync-sync, many, 0 ms: failed"},
		{"no rsync", func(res *results) { delete(res.find(k).Results, rsyncSync) }, unknown, "rsync-sync, many, 0 ms: not measured"},
		{"no run", func(res *results) { res.find(k).Results[ours].Seconds = nil }, unknown, "not measured"},
	} {
		res := sample()
		test.change(res)
		v := only(t, res, k, ours, rsyncSync)
		if v.outcome != test.want || v.why == nil || v.why.Error() != test.why {
			t.Errorf("%s: %s, %v", test.name, v.outcome, v.why)
		}
	}

	res := sample()
	res.add("many", far, ours, 1)
	delete(res.find(key{"setup", far.RTT, far.Rate}).Results, ssh)
	res.find(k).Results[ours].Seconds = nil
	for _, v := range res.verdicts() {
		if v.cell.RTT != 0 && strings.Contains(v.says, "setup") && (v.outcome != unknown ||
			!strings.Contains(v.why.Error(), "ssh, setup, 50 ms") || !strings.Contains(v.why.Error(), "ours, many, 0 ms")) {
			t.Errorf("%s: %s, %v", v.says, v.outcome, v.why)
		}
	}
}

func TestCompare(t *testing.T) {
	exactly := func(value float64) quantity { return quantity{value: value} }
	orMore := func(value float64) quantity { return quantity{value: value, orMore: true} }
	for _, test := range []struct {
		measured, limit quantity
		want            outcome
	}{
		{exactly(1), exactly(1), met},
		{exactly(2), exactly(1), notMet},
		{exactly(1), orMore(2), met},
		{exactly(2), orMore(1), unknown},
		{orMore(1), exactly(2), unknown},
		{orMore(2), exactly(1), notMet},
		{orMore(2), orMore(2), unknown},
		{orMore(3), orMore(2), unknown},
	} {
		if got := compare(test.measured, test.limit); got != test.want {
			t.Errorf("%v within %v: %s, not %s", test.measured, test.limit, got, test.want)
		}
	}
}

// What a transfer takes with a delay cannot be less than what it takes without.
func TestBoundInTransfer(t *testing.T) {
	res := sample()
	res.find(key{Case: "many"}).Results[ours] = &result{Over: 600}
	if q, err := transfer(res, key{"many", far.RTT, far.Rate}); err != nil || !q.orMore {
		t.Errorf("%v, %v", q, err)
	}
}

func TestMemoryTarget(t *testing.T) {
	for _, test := range []struct {
		name             string
		load             load
		megas            int64
		pusher, receiver int64
		want             [2]outcome
	}{
		{"memory", load{Objects: 1_000_000}, 200, 200e6, 200e6 + 1, [2]outcome{met, notMet}},
		{"memory", load{Objects: 1_000_000}, 200, 200e6 + 1, 200e6, [2]outcome{notMet, met}},
		{"memory", load{Objects: 1_000_000}, 200, 0, 1, [2]outcome{unknown, met}},
		{"memory", load{Objects: 999_999}, 200, 1, 1, [2]outcome{unknown, unknown}},
		{"memory-archive", load{Bytes: 10e9}, 100, 100e6 + 1, 100e6, [2]outcome{notMet, met}},
		{"memory-bare", load{Bytes: 10e9}, 100, 100e6, 100e6 + 1, [2]outcome{met, notMet}},
		{"memory-bare", load{Bytes: 1e9}, 100, 1, 1, [2]outcome{unknown, unknown}},
		{"memory-refs", load{Refs: 20_000}, 100, 100e6, 100e6 + 1, [2]outcome{met, notMet}},
		{"memory-refs", load{Refs: 200}, 100, 1, 1, [2]outcome{unknown, unknown}},
	} {
		res := newResults()
		res.Loads[test.name] = test.load
		r := res.add(test.name, near, ours, 100)
		r.PusherPeak, r.ReceiverPeak = test.pusher, test.receiver
		got := [2]outcome{
			only(t, res, key{Case: test.name}, ours, fmt.Sprintf("%d MB in the pusher", test.megas)).outcome,
			only(t, res, key{Case: test.name}, ours, fmt.Sprintf("%d MB in the receiver", test.megas)).outcome,
		}
		if got != test.want {
			t.Errorf("%s, %v, %d and %d bytes: %v", test.name, test.load, test.pusher, test.receiver, got)
		}
	}
}

// A run that was ended is a bound for what builds on it.
func TestBoundInLimit(t *testing.T) {
	res := sample()
	res.find(key{Case: "many"}).Results[python] = &result{Over: 600}
	res.add("many", near, tunnel, 601)
	if v := only(t, res, key{Case: "many"}, tunnel, "python"); v.outcome != unknown || v.why != nil {
		t.Errorf("%s, %v", v.outcome, v.why)
	}
	res.add("many", near, tunnel, 599)
	if v := only(t, res, key{Case: "many"}, tunnel, "python"); v.outcome != met {
		t.Errorf("%s, %v", v.outcome, v.why)
	}
}

func TestTooSlow(t *testing.T) {
	slower := link.Link{RTT: 150 * time.Millisecond, Rate: 100e6}
	res := newResults()
	res.cell("many", far).Results[python] = &result{Over: 600}
	for _, test := range []struct {
		name      string
		link      link.Link
		contender string
		max       time.Duration
		want      bool
	}{
		{"many", slower, python, 600 * time.Second, true},
		{"many", slower, python, 601 * time.Second, false},
		{"many", far, python, time.Second, false}, // itself
		{"many", fast, python, time.Second, false},
		{"many", near, python, time.Second, false},
		{"many", link.Link{RTT: 10 * time.Millisecond, Rate: 100e6}, python, time.Second, false},
		{"many", link.Link{RTT: slower.RTT, Rate: 1e9}, python, time.Second, false},
		{"many", link.Link{RTT: slower.RTT}, python, time.Second, false},
		{"many", slower, tunnel, time.Second, false},
		{"big", slower, python, time.Second, false},
	} {
		c, seconds := res.tooSlow(key{test.name, test.link.RTT, test.link.Rate}, test.contender, test.max)
		if (c != nil) != test.want || (seconds == 600) != test.want {
			t.Errorf("%s, %s, %s, %v: %v, %g", test.name, describe(test.link), test.contender, test.max, c, seconds)
		}
	}
	res = newResults()
	res.cell("many", link.Link{RTT: far.RTT}).Results[python] = &result{Over: 600}
	k := key{"many", far.RTT, far.Rate}
	if c, _ := res.tooSlow(k, python, time.Second); c == nil {
		t.Error("an unlimited link is not taken for the faster one")
	}
	// The longest time says most, and one that was measured to its end does, too.
	res.cell("many", link.Link{RTT: far.RTT}).Results[python] = &result{Seconds: []float64{1587}}
	res.cell("many", fast).Results[python] = &result{Over: 600}
	res.cell("many", near).Results[python] = &result{Seconds: []float64{20}}
	if _, seconds := res.tooSlow(k, python, time.Minute); seconds != 1587 {
		t.Errorf("longer than %g s", seconds)
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}} {
		if got, err := medianOf(test.values); err != nil || got.value != test.want || got.orMore {
			t.Errorf("%v: %v, %v", test.values, got, err)
		}
	}
	if _, err := medianOf(nil); err == nil || errors.Is(err, errNoLoad) {
		t.Errorf("of nothing: %v", err)
	}
}
