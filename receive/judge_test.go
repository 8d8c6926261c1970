package receive

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ostree-push/ostree"
	"ostree-push/report"
)

func TestCompare(t *testing.T) {
	const (
		notNewer = "received main commit 0200000000000000000000000000000000000000000000000000000000000000 is not newer than " +
			"current main commit 0100000000000000000000000000000000000000000000000000000000000000"
		sameContent = "received main commit 0200000000000000000000000000000000000000000000000000000000000000 has the same content as " +
			"current main commit 0100000000000000000000000000000000000000000000000000000000000000"
		metadata = "received main commit 0200000000000000000000000000000000000000000000000000000000000000 differs from the current one " +
			"in its metadata alone, and that is only taken with " +
			"the receiver's --force (--command='ostree-receive-1 --force', where the server allows it)"
	)
	tree := func(n byte) ostree.Tree { return ostree.Tree{Contents: ostree.Checksum{n}, Meta: ostree.Checksum{9}} }
	for name, test := range map[string]struct {
		time     uint64 // the current commit's is 100
		tree     ostree.Tree
		subject  string // the current commit's is "s"
		force    bool
		status   report.Status
		warnings []string
	}{
		"newer":                      {time: 101, tree: tree(2), status: report.Updated},
		"newer, forced":              {time: 101, tree: tree(2), force: true, status: report.Updated},
		"as old":                     {time: 100, tree: tree(2), status: report.Rejected, warnings: []string{notNewer}},
		"older":                      {time: 99, tree: tree(2), status: report.Rejected, warnings: []string{notNewer}},
		"older, forced":              {time: 99, tree: tree(2), force: true, status: report.Forced, warnings: []string{notNewer}},
		"newer, other subject":       {time: 101, tree: tree(1), subject: "t", status: report.Rejected, warnings: []string{sameContent, metadata}},
		"newer, nothing else, force": {time: 101, tree: tree(1), subject: "s", force: true, status: report.Forced, warnings: []string{sameContent}},
		"newer, nothing else":        {time: 101, tree: tree(1), subject: "s", status: report.UpToDate},
		"older, nothing else":        {time: 99, tree: tree(1), subject: "s", status: report.Rejected, warnings: []string{notNewer, sameContent}},
		"the same but for bindings":  {time: 100, tree: tree(1), subject: "s", status: report.UpToDate},
		"the same, other subject":    {time: 100, tree: tree(1), status: report.Rejected, warnings: []string{notNewer, sameContent, metadata}},
		"other root permissions": {time: 101, tree: ostree.Tree{Contents: ostree.Checksum{1}, Meta: ostree.Checksum{8}},
			status: report.Updated},
	} {
		current := &ostree.Commit{Checksum: ostree.Checksum{1}, Timestamp: 100, Tree: tree(1), Subject: "s"}
		received := &ostree.Commit{Checksum: ostree.Checksum{2}, Timestamp: test.time, Tree: test.tree, Subject: test.subject}
		v := compare(offer{ref: "main", commit: received}, current, test.force)
		if v.status != test.status || v.current != current.Checksum {
			t.Errorf("%s: %s (current %s), want %s", name, v.status, v.current, test.status)
		}
		if diff := cmp.Diff(test.warnings, v.warnings); diff != "" {
			t.Errorf("%s: warnings (-want +got):\n%s", name, diff)
		}
	}
}

// TestJudgeAgain has a ref go back between the two judgements: what was not
// fetched is not merged. What has moved is not judged again.
func TestJudgeAgain(t *testing.T) {
	earlier := map[ostree.Ref]verdict{
		"main":  {offer: offer{ref: "main"}, status: report.Rejected},
		"other": {offer: offer{ref: "other"}, status: report.Updated},
		"done":  {offer: offer{ref: "done"}, status: report.Updated, moved: true},
	}
	again := &verdicts{all: []verdict{
		{offer: offer{ref: "main"}, status: report.New},
		{offer: offer{ref: "other"}, status: report.New},
		{offer: offer{ref: "done"}, status: report.UpToDate},
	}}
	again.takeOver(earlier)
	var got []report.Status
	for _, v := range again.all {
		got = append(got, v.status)
	}
	if diff := cmp.Diff([]report.Status{report.Rejected, report.New, report.Updated}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
