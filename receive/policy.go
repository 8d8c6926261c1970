package receive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ostree-push/ostree"
	"ostree-push/receive/config"
	"ostree-push/receive/sign"
)

// This file applies the configuration to a receive: which repository, which
// refs, which keys.

// load reads the configuration.
func (l Limits) load() (*config.Policy, error) {
	sources := config.DefaultSources()
	if l.Config != "" {
		// One that is not there is fine elsewhere, but here somebody counts on it.
		if _, err := os.Stat(l.Config); err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		sources.Only = l.Config
	}
	return config.Load(sources)
}

// find returns the path of the repository that a pusher calls repo, and the
// policy for it.
func (l Limits) find(policy *config.Policy, repo string) (string, *config.Config, error) {
	root := policy.Root()
	if l.Root != "" {
		root = l.Root
	}
	path, err := findRepo(root, repo)
	if err != nil {
		return "", nil, err
	}
	c, err := policy.For(path)
	if err != nil {
		return "", nil, err
	}
	return path, c, c.Limit(l.Refs, l.NoForce)
}

// findRepo returns the path of the repository that a pusher calls path. With
// root, that is one below it, and whatever else path may be, it is said not to
// be there.
func findRepo(root, path string) (string, error) {
	notFound := fmt.Errorf("repo %s not found", path)
	if root == "" {
		abs, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(abs); errors.Is(err, fs.ErrNotExist) {
			return "", notFound
		}
		return abs, nil
	}
	realRoot, err := realPath(root)
	if err != nil {
		return "", notFound
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(root, path)
	}
	real, err := realPath(path)
	if err != nil || real != realRoot && !strings.HasPrefix(real, strings.TrimSuffix(realRoot, "/")+"/") {
		return "", notFound
	}
	return real, nil
}

// realPath returns the absolute path of what path leads to.
func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// checkRefs returns an error that names the refs which may not be received.
func (r *receiver) checkRefs(refs []ostree.Ref) error {
	const most = 10
	var refused []string
	for _, ref := range refs {
		if !r.config.AllowsRef(string(ref)) {
			refused = append(refused, fmt.Sprintf("ref %s is not allowed here", ref))
		}
	}
	if n := len(refused) - most; n > 0 {
		refused = append(refused[:most], fmt.Sprintf("and so are %d more", n))
	}
	if len(refused) > 0 {
		return errors.New(strings.Join(refused, "; "))
	}
	return nil
}

// loadKeys reads the keys that are configured, so that one that is missing is
// noticed before anything else happens.
func (r *receiver) loadKeys() error {
	c := r.config
	if err := c.FindKeys(); err != nil {
		return err
	}
	var err error
	if r.signer, err = sign.NewSigner(c.GPGSign, c.GPGHomedir, c.SignType, c.SignKeyfiles); err != nil {
		return err
	}
	if c.GPGVerify {
		r.verifier.VerifyGPG(remoteName)
		if c.GPGTrustedKeys != "" {
			if r.keyring, err = os.Open(c.GPGTrustedKeys); err != nil {
				return fmt.Errorf("gpg_trustedkeys keyring: %w", err)
			}
		}
	}
	if c.SignVerify {
		return r.verifier.VerifySign(c.SignType, c.SignTrustedKeyfile, sign.GlobalDirs())
	}
	return nil
}

// verify checks the signatures of all that is offered. One that is wrong fails
// the receive: somebody is not who they should be.
func (r *receiver) verify(ctx context.Context, q *quarantine, offered *offers) error {
	for _, o := range offered.offers {
		if err := r.verifier.VerifyCommit(ctx, q.repo, o.commit.Checksum); err != nil {
			return fmt.Errorf("ref %s: commit %s: %w", o.ref, o.commit.Checksum, err)
		}
	}
	return nil
}
