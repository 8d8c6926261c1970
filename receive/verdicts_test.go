package receive

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ostree-push/ostree"
	"ostree-push/report"
)

// results is a Sink that keeps the results and log lines.
type results struct {
	refs []report.Ref
	log  []string
}

func (r *results) Log(level report.Level, text string) {
	r.log = append(r.log, level.String()+": "+text)
}
func (r *results) Progress(report.Progress) {}
func (r *results) Ref(ref report.Ref)       { r.refs = append(r.refs, ref) }

// What a ref was and is, before and after its merge, and if there is none.
func TestVerdictsReport(t *testing.T) {
	sum := func(n byte) ostree.Checksum { return ostree.Checksum{n} }
	offered := func(ref ostree.Ref) offer { return offer{ref: ref, commit: &ostree.Commit{Checksum: sum(2)}} }
	old, received, merged, same := sum(1).String(), sum(2).String(), sum(3).String(), sum(4).String()
	vs := &verdicts{
		current: []currentRef{{"y", sum(1), sum(1)}, {"z", sum(1), sum(4)}},
		all: []verdict{
			{offer: offered("dry-new"), status: report.New},
			{offer: offered("dry-updated"), status: report.Updated, current: sum(1)},
			{offer: offered("new"), status: report.New, merged: sum(3)},
			{offer: offered("updated"), status: report.Updated, current: sum(1), merged: sum(3)},
			{offer: offered("forced"), status: report.Forced, current: sum(1), merged: sum(3), reason: "not newer"},
			{offer: offered("rejected"), status: report.Rejected, current: sum(1), reason: "same content"},
			{offer: offered("same"), status: report.UpToDate, current: sum(1), reason: "same content"},
		},
	}
	var got results
	vs.report(&got)
	want := []report.Ref{
		{Ref: "y", Status: report.UpToDate, Old: old, New: old, Received: old},
		{Ref: "z", Status: report.UpToDate, Old: old, New: old, Received: same},
		{Ref: "dry-new", Status: report.New, Received: received},
		{Ref: "dry-updated", Status: report.Updated, Old: old, Received: received},
		{Ref: "new", Status: report.New, New: merged, Received: received},
		{Ref: "updated", Status: report.Updated, Old: old, New: merged, Received: received},
		{Ref: "forced", Status: report.Forced, Old: old, New: merged, Received: received, Reason: "not newer"},
		{Ref: "rejected", Status: report.Rejected, Old: old, New: old, Received: received, Reason: "same content"},
		{Ref: "same", Status: report.UpToDate, Old: old, New: old, Received: received, Reason: "same content"},
	}
	if diff := cmp.Diff(want, got.refs); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The reason of a verdict is short, for its line among the results.
func TestCompareReason(t *testing.T) {
	current := &ostree.Commit{Timestamp: 100}
	for want, c := range map[string]*ostree.Commit{
		"":               {Timestamp: 101, Tree: ostree.Tree{Contents: ostree.Checksum{1}}},
		"not newer":      {Timestamp: 100, Tree: ostree.Tree{Contents: ostree.Checksum{1}}},
		"other metadata": {Timestamp: 101, Body: "b"},
	} {
		if got := compare(offer{ref: "main", commit: c}, current, false).reason; got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
	}
}

func TestAnnounce(t *testing.T) {
	var got results
	r := &receiver{sink: &got}
	r.announce(verdict{offer: offer{ref: "main"}, status: report.Updated})
	r.announce(verdict{offer: offer{ref: "main"}, status: report.Rejected, warnings: []string{"a", "b"}})
	r.announce(verdict{offer: offer{ref: "main"}, status: report.Forced, warnings: []string{"c"}})
	want := []string{"warning: a", "warning: b", "warning: c", "info: Forcing merge of ref main"}
	if diff := cmp.Diff(want, got.log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
