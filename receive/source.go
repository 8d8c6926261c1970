package receive

import (
	"context"

	"ostree-push/ostree"
	"ostree-push/report"
)

// source is what brings objects: from a stream of the pusher's (package upload), or from a URL (package pull). Each is
// opened for one receive with the quarantine that it fills, and knows nothing of the target's refs, of policy, nor
// of what becomes of what it brings. TestSources is what every one has to pass.
//
// Refs, Commits and Objects are called once each, in this order, by one goroutine, unless an error ends the
// receive: then only Close is. What has arrived is of use to the next receive, unless the error
// is one of quarantine.IsFault.
type source interface {
	// Refs returns the refs that are offered, and their commits; and, of the refs of which the source tells that, the
	// digests of what these commits publish.
	Refs(ctx context.Context) (ostree.Refs, map[ostree.Ref]ostree.Digest, error)

	// Commits brings commits, of refs that Refs has returned, into the quarantine: the commit objects, which have been
	// compared with their checksums, and their detached metadata. There may be none. A commit that it does not
	// bring is no error here: the target may have it. The source is told of what it need not bring: current has those of the
	// refs that are up to date, and what they show; trees returns trees that the target has for another ref, the likeliest first.
	Commits(ctx context.Context, commits []ostree.Checksum, current ostree.Refs, trees func(ostree.Ref) []ostree.Tree) error

	// Objects brings into the quarantine what commits, which are there, consist of and the target does not have, as far as
	// the source tells without being asked. There may be no commits, which tells the source that nothing
	// is wanted. All that is in the quarantine afterwards has been compared with its checksum.
	Objects(ctx context.Context, commits []ostree.Checksum) error

	fetcher

	// Totals are the objects and the bytes that have come so far.
	Totals() report.Totals

	// Close ends all dealings with the source.
	Close()
}

// fetcher can be asked for objects.
type fetcher interface {
	// Fetch brings objects of the commits that Objects was called with, one at least, into the quarantine, where they are
	// not, and compares them with their checksums. It is an error if it cannot bring all of them. It may be called any
	// number of times after Objects.
	Fetch(ctx context.Context, objects []ostree.ObjectName) error
}
