package ostree

// #include "config.h"
// #include "remote.h"
import "C"

import (
	"context"
	"fmt"
)

// FetchSummary fetches the summary file of a configured remote, for ParseSummary. A request that failed for a
// passing reason is made again, retries times at most. The error is ErrNotFound if the remote has no summary.
//
// ctx is looked at between requests only: a transfer that stalls ends with its connection. Who does not
// wait for that may Close the Repo meanwhile.
func (r *Repo) FetchSummary(ctx context.Context, remote string, retries int) ([]byte, error) {
	repo, release, err := r.hold()
	if err != nil {
		return nil, err
	}
	defer release()
	c, done := cancellable(ctx)
	defer done()
	cremote, free := cstring(remote)
	defer free()
	var summary []byte
	err = withMainContext(func() error {
		var gerr *C.GError
		bytes := C.op_fetch_summary(repo, cremote, C.guint32(retries), c, &gerr)
		if bytes == nil {
			return gerror(gerr)
		}
		summary = takeBytes(bytes)
		return nil
	})
	return summary, err
}

// AddRemote writes a remote into the repository's config, whose commits and summary are pulled without
// GPG verification. options are more options of the remote's group, by their keys.
func (r *Repo) AddRemote(name, url string, options map[string]string) error {
	group := remoteGroup(name)
	config := []string{
		group, "url", url,
		group, "gpg-verify", "false",
		group, "gpg-verify-summary", "false",
	}
	for key, value := range options {
		config = append(config, group, key, value)
	}
	cconfig, free := cstrv(config)
	defer free()
	var gerr *C.GError
	if C.op_repo_set_config(r.c, cconfig, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

func remoteGroup(name string) string { return fmt.Sprintf("remote %q", name) }
