// Package sign signs and verifies commits and summaries: with GPG, which is
// libostree's, and with one more signature system. Of those, ed25519 can always
// be used: where libostree was built without it, Go's implementation takes its
// place, with the same keys and the same signatures.
package sign

import (
	"context"
	"errors"
	"fmt"

	"ostree-push/ostree"
	"ostree-push/receive/config"
)

// Keys are the keys of one policy, with what has to live as long as they are used: files, and the directory that gpg
// runs in.
type Keys struct{ of []keys }

// Open finds and reads the keys that the policy names, those to sign with and those to verify with. That
// there are none to verify with where a signature is asked for is an error. Close gives back what they hold.
func Open(c *config.Config) (*Keys, error) {
	if err := c.FindKeys(); err != nil {
		return nil, err
	}
	return open(c, globalDirs())
}

func open(c *config.Config, dirs []string) (*Keys, error) {
	if usesType(c) {
		if err := checkType(c.SignType); err != nil {
			return nil, err
		}
	}
	k := &Keys{}
	for _, s := range systems() {
		read, err := s.read(c, dirs)
		if err != nil {
			k.Close()
			return nil, err
		}
		read.system = s
		k.of = append(k.of, read)
	}
	return k, nil
}

// Close gives back what the keys hold. It must be called once.
func (k *Keys) Close() {
	for _, keys := range k.of {
		if keys.close != nil {
			keys.close()
		}
	}
}

// secret returns the keys to sign with.
func (k *Keys) secret() (all []secretKeys) {
	for _, keys := range k.of {
		if keys.secret != nil {
			all = append(all, keys.secret)
		}
	}
	return all
}

// Signs reports whether there are keys to sign with.
func (k *Keys) Signs() bool { return len(k.secret()) > 0 }

// Verifies reports whether a signature is asked for.
func (k *Keys) Verifies() bool {
	for _, keys := range k.of {
		if keys.trusted != nil {
			return true
		}
	}
	return false
}

// CountSignatures returns how many signatures a commit has, of all kinds that can be made or
// verified here.
func CountSignatures(ctx context.Context, repo *ostree.Repo, sum ostree.Checksum) (int, error) {
	n := 0
	for _, s := range systems() {
		signatures, err := repo.CommitSignatures(ctx, sum, s.signatures)
		if err != nil {
			return 0, err
		}
		n += len(signatures)
	}
	return n, nil
}

// SignCommit adds the signatures of all keys to a commit that it does not have yet.
func (k *Keys) SignCommit(ctx context.Context, repo *ostree.Repo, sum ostree.Checksum) error {
	for _, keys := range k.secret() {
		if err := keys.signCommit(ctx, repo, sum); err != nil {
			return err
		}
	}
	return nil
}

// FlatpakOptions are the options by which flatpak build-update-repo signs what it can sign itself.
// SignFlatpakSummary does the rest.
func (k *Keys) FlatpakOptions() (options []string) {
	for _, keys := range k.secret() {
		options = append(options, keys.flatpakOptions()...)
	}
	return options
}

// SignFlatpakSummary adds to the summary that flatpak has written, and signed, the signatures that it cannot make.
func (k *Keys) SignFlatpakSummary(ctx context.Context, repo *ostree.Repo) error {
	return signSummary(ctx, repo, k.secret())
}

func signSummary(ctx context.Context, repo *ostree.Repo, all []secretKeys) error {
	for _, keys := range all {
		if err := keys.signSummary(ctx, repo); err != nil {
			return err
		}
	}
	return nil
}

// lend returns the keys that libostree signs with, and those with which it cannot.
func (k *Keys) lend() (signers ostree.Signers, left []secretKeys) {
	for _, keys := range k.secret() {
		if !keys.lend(&signers) {
			left = append(left, keys)
		}
	}
	return signers, left
}

// WriteMetadataSigned has libostree write a repository's metadata anew, signed with all keys: the
// summary and, where there is a collection id, the commit that shows the same.
func (k *Keys) WriteMetadataSigned(ctx context.Context, repo *ostree.Repo) error {
	signers, left := k.lend()
	if err := repo.RegenerateMetadata(ctx, signers); err != nil {
		return err
	}
	if err := signMetadataRef(ctx, repo, left); err != nil {
		return err
	}
	return signSummary(ctx, repo, left)
}

// WriteSummarySigned writes a summary of some refs, which libostree itself would make of all, signed with all keys.
func (k *Keys) WriteSummarySigned(ctx context.Context, repo *ostree.Repo, refs ostree.Refs) error {
	signers, _ := k.lend()
	signers.SignType, signers.SecretKeys = "", nil // WriteSummary signs with GPG alone: secrets are not copied for nothing
	if err := repo.WriteSummary(ctx, refs, signers); err != nil {
		return err
	}
	return signSummary(ctx, repo, k.secret())
}

// signMetadataRef signs the commit that a repository with a collection id has
// of its metadata.
func signMetadataRef(ctx context.Context, repo *ostree.Repo, all []secretKeys) error {
	if len(all) == 0 || repo.CollectionID() == "" {
		return nil
	}
	refs, err := repo.Refs(ctx)
	if err != nil {
		return err
	}
	sum, ok := refs[ostree.MetadataRef]
	if !ok {
		return nil
	}
	for _, keys := range all {
		if err := keys.signCommit(ctx, repo, sum); err != nil {
			return fmt.Errorf("%s: %w", ostree.MetadataRef, err)
		}
	}
	return nil
}

// Errors of VerifyCommit.
var (
	ErrNoSignature = errors.New("no signature found")
	ErrUntrusted   = errors.New("no signature that is valid and of a trusted key")
)

// VerifyCommit returns nil if the commit has every kind of signature that is
// asked for. It uses nothing of the commit but the object itself. repo is one that nobody else has, as a
// quarantine is: its config may be added to.
func (k *Keys) VerifyCommit(ctx context.Context, repo *ostree.Repo, sum ostree.Checksum) error {
	if !k.Verifies() {
		return nil
	}
	object, err := repo.CommitObject(sum)
	if err != nil {
		return err
	}
	for _, keys := range k.of {
		if keys.trusted == nil {
			continue
		}
		if err := keys.verify(ctx, repo, sum, object); err != nil {
			return fmt.Errorf("%s verification: %w", keys.system.name, err)
		}
	}
	return nil
}

func (k keys) verify(ctx context.Context, repo *ostree.Repo, sum ostree.Checksum, object []byte) error {
	signatures, err := repo.CommitSignatures(ctx, sum, k.system.signatures)
	if err != nil {
		return err
	}
	if len(signatures) == 0 {
		return ErrNoSignature
	}
	return k.trusted.verify(ctx, repo, object, signatures)
}
