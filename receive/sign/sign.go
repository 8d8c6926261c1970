// Package sign signs and verifies commits and summaries: with GPG, which is
// libostree's, and with one more signature system. Of those, ed25519 can always
// be used: where libostree was built without it, Go's implementation takes its
// place, with the same keys and the same signatures.
package sign

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"ostree-push/ostree"
)

// engine makes and checks the signatures of one signature system.
type engine interface {
	// sign returns one signature over data for each secret key.
	sign(ctx context.Context, data []byte) ([][]byte, error)
	// verify reports whether one of the signatures over data is valid, and of a
	// key that is trusted.
	verify(data []byte, signatures [][]byte) (bool, error)
}

// CheckType returns an error if a signature system is not supported.
func CheckType(signType string) error {
	switch {
	case signType == TypeEd25519:
		return nil
	case signType != TypeSPKI:
		// libostree's "dummy" would take anybody's word.
		return fmt.Errorf("sign_type %q is not supported: use %s, or %s where libostree has it", signType, TypeEd25519, TypeSPKI)
	case !ostree.HasSign(signType):
		return fmt.Errorf("sign_type %q is not supported by the libostree in use", signType)
	}
	return nil
}

// newEngine returns the engine of a signature system that is supported.
func newEngine(signType string, keys keys) engine {
	if ostree.HasSign(signType) {
		return &libostreeEngine{signType, keys}
	}
	return newGoEngine(keys)
}

// The signature systems.
const (
	TypeEd25519 = "ed25519"
	TypeSPKI    = "spki"
)

// signaturesKey is where the signatures of a system are, in detached metadata
// and in summary.sig. So have libostree's OSTREE_SIGN_METADATA_ED25519_KEY and
// OSTREE_SIGN_METADATA_SPKI_KEY it.
func signaturesKey(signType string) string { return "ostree.sign." + signType }

// Signer signs what is received. The zero Signer signs with no key.
type Signer struct {
	gpgKeys    []string
	gpgHomedir string
	signType   string
	keys       keys
	engine     engine // nil: no key
}

// NewSigner reads the secret keys in keyfiles, of the system signType. gpgKeys
// are ids of keys in gpgHomedir, "" being GnuPG's default.
func NewSigner(gpgKeys []string, gpgHomedir, signType string, keyfiles []string) (*Signer, error) {
	s := &Signer{gpgKeys: gpgKeys, gpgHomedir: gpgHomedir, signType: signType}
	if len(keyfiles) == 0 {
		return s, nil
	}
	if err := CheckType(signType); err != nil {
		return nil, err
	}
	var err error
	if s.keys.secret, err = readSecretKeys(signType, keyfiles); err != nil {
		return nil, err
	}
	s.engine = newEngine(signType, s.keys)
	return s, nil
}

// HasKeys reports whether s signs at all.
func (s *Signer) HasKeys() bool { return len(s.gpgKeys) > 0 || s.engine != nil }

// CountSignatures returns how many signatures a commit has, of all kinds that can be made or
// verified here.
func CountSignatures(ctx context.Context, repo *ostree.Repo, sum ostree.Checksum) (int, error) {
	n := 0
	for _, key := range []string{ostree.GPGSignatures, signaturesKey(TypeEd25519), signaturesKey(TypeSPKI)} {
		signatures, err := repo.CommitSignatures(ctx, sum, key)
		if err != nil {
			return 0, err
		}
		n += len(signatures)
	}
	return n, nil
}

// SignCommit adds the signatures of all keys to a commit that it does not have yet: GPG's, then the
// others.
func (s *Signer) SignCommit(ctx context.Context, repo *ostree.Repo, sum ostree.Checksum) error {
	for _, key := range s.gpgKeys {
		signed, err := hasGPGSignature(ctx, repo, sum, key, s.gpgHomedir)
		if err == nil && !signed {
			err = repo.GPGSignCommit(ctx, sum, key, s.gpgHomedir)
		}
		if err != nil {
			return fmt.Errorf("sign commit %s with GPG key %s: %w", sum, key, err)
		}
	}
	if s.engine == nil {
		return nil
	}
	if err := s.addToCommit(ctx, repo, sum); err != nil {
		return fmt.Errorf("sign commit %s with %s: %w", sum, s.signType, err)
	}
	return nil
}

func (s *Signer) addToCommit(ctx context.Context, repo *ostree.Repo, sum ostree.Checksum) error {
	object, err := repo.CommitObject(sum)
	if err != nil {
		return err
	}
	signatures, err := s.engine.sign(ctx, object)
	if err != nil {
		return err
	}
	return repo.AddCommitSignatures(ctx, sum, signaturesKey(s.signType), signatures)
}

// RegenerateMetadata updates the metadata of a repository, signed.
func (s *Signer) RegenerateMetadata(ctx context.Context, repo *ostree.Repo) error {
	signers := ostree.Signers{GPGKeys: s.gpgKeys, GPGHomedir: s.gpgHomedir}
	_, libostrees := s.engine.(*libostreeEngine)
	if libostrees {
		signers.SignType, signers.SecretKeys = s.signType, s.keys.secret
	}
	if err := repo.RegenerateMetadata(ctx, signers); err != nil {
		return err
	}
	if s.engine == nil || libostrees {
		return nil
	}
	if err := s.signMetadataRef(ctx, repo); err != nil {
		return err
	}
	return s.SignSummary(ctx, repo)
}

// WriteSummary writes a summary of some refs, signed.
func (s *Signer) WriteSummary(ctx context.Context, repo *ostree.Repo, refs ostree.Refs) error {
	if err := repo.WriteSummary(ctx, refs, ostree.Signers{GPGKeys: s.gpgKeys, GPGHomedir: s.gpgHomedir}); err != nil {
		return err
	}
	return s.SignSummary(ctx, repo)
}

// signMetadataRef signs the commit that a repository with a collection id has
// of its metadata.
func (s *Signer) signMetadataRef(ctx context.Context, repo *ostree.Repo) error {
	if repo.CollectionID() == "" {
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
	if err := s.addToCommit(ctx, repo, sum); err != nil {
		return fmt.Errorf("sign %s with %s: %w", ostree.MetadataRef, s.signType, err)
	}
	return nil
}

// SignSummary adds the signatures that are not GPG's to the summary's.
func (s *Signer) SignSummary(ctx context.Context, repo *ostree.Repo) error {
	if s.engine == nil {
		return nil
	}
	summary, err := repo.Summary()
	if err != nil {
		return err
	}
	signatures, err := s.engine.sign(ctx, summary)
	if err == nil {
		err = repo.AddSummarySignatures(signaturesKey(s.signType), signatures)
	}
	if err != nil {
		return fmt.Errorf("sign the summary with %s: %w", s.signType, err)
	}
	return nil
}

// Verifier checks the signatures of what is offered. The zero Verifier asks for
// none.
type Verifier struct {
	gpgRemote string
	signType  string
	engine    engine // nil: not asked for
}

// VerifyGPG makes v ask for a GPG signature by a key of the given remote of the
// repository that the commits are in, or one in libostree's global keyrings.
func (v *Verifier) VerifyGPG(remote string) { v.gpgRemote = remote }

// VerifySign makes v ask for a signature of the system signType by a key in
// trustedKeyfile ("": none) or in libostree's global files, which are in the
// directories globalDirs. That there is no such key is an error.
func (v *Verifier) VerifySign(signType, trustedKeyfile string, globalDirs []string) error {
	if err := CheckType(signType); err != nil {
		return err
	}
	public, err := readPublicKeys(signType, trustedKeyfile, globalDirs)
	if err != nil {
		return err
	}
	if len(public) == 0 {
		return fmt.Errorf("sign_verify is on, but no %s key is trusted: set sign_trustedkeyfile", signType)
	}
	v.signType, v.engine = signType, newEngine(signType, keys{public: public})
	return nil
}

// GlobalDirs returns the directories of libostree's global key files.
func GlobalDirs() []string { return []string{"/etc/ostree", "/usr/share/ostree"} }

// Errors of VerifyCommit.
var (
	ErrNoSignature = errors.New("no signature found")
	ErrUntrusted   = errors.New("no signature that is valid and of a trusted key")
)

// VerifyCommit returns nil if the commit has every kind of signature that is
// asked for. It uses nothing of the commit but the object itself.
func (v *Verifier) VerifyCommit(ctx context.Context, repo *ostree.Repo, sum ostree.Checksum) error {
	if v.gpgRemote == "" && v.engine == nil {
		return nil
	}
	object, err := repo.CommitObject(sum)
	if err != nil {
		return err
	}
	if v.gpgRemote != "" {
		if err := v.verifyGPG(ctx, repo, sum, object); err != nil {
			return fmt.Errorf("GPG verification: %w", err)
		}
	}
	if v.engine != nil {
		if err := v.verifySign(ctx, repo, sum, object); err != nil {
			return fmt.Errorf("%s verification: %w", v.signType, err)
		}
	}
	return nil
}

func (v *Verifier) verifyGPG(ctx context.Context, repo *ostree.Repo, sum ostree.Checksum, object []byte) error {
	signatures, err := repo.CommitSignatures(ctx, sum, ostree.GPGSignatures)
	if err != nil {
		return err
	}
	if len(signatures) == 0 {
		return ErrNoSignature
	}
	if err := repo.GPGVerify(ctx, v.gpgRemote, object, signatures); err != nil {
		if ctx.Err() != nil {
			return ctx.Err() // it says nothing of the signatures
		}
		// libostree describes each signature in a line or two.
		return fmt.Errorf("%w: %s", ErrUntrusted, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

func (v *Verifier) verifySign(ctx context.Context, repo *ostree.Repo, sum ostree.Checksum, object []byte) error {
	signatures, err := repo.CommitSignatures(ctx, sum, signaturesKey(v.signType))
	if err != nil {
		return err
	}
	if len(signatures) == 0 {
		return ErrNoSignature
	}
	ok, err := v.engine.verify(object, signatures)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if !ok {
		return ErrUntrusted
	}
	return nil
}
