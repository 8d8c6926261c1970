package ostree

// #include "gpg.h"
import "C"

import (
	"bytes"
	"context"
)

// GPGSignatures is the key, in detached metadata and in summary.sig, of OpenPGP
// signatures; those of the signature system TYPE have "ostree.sign.TYPE". The
// values are lists of byte arrays (aay).
const GPGSignatures = "ostree.gpgsigs"

// GPGSignCommit signs a commit with the secret key of that id in homedir, ""
// being GnuPG's default. A commit that has a signature of the key is left as it
// is, if the key is also in a keyring that libostree verifies with. In a transaction the signature belongs to it.
func (r *Repo) GPGSignCommit(ctx context.Context, sum Checksum, keyID, homedir string) error {
	c, done := cancellable(ctx)
	defer done()
	csum, freeSum := cstring(sum.String())
	defer freeSum()
	cid, freeID := cstring(keyID)
	defer freeID()
	chome, freeHome := cstringOrNil(homedir)
	defer freeHome()
	var gerr *C.GError
	if C.op_gpg_sign_commit(r.c, csum, cid, chome, c, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// GPGVerify checks that one of the signatures over data is valid and of a key
// that is trusted: one in libostree's global keyrings, or one that the
// configured remote has. The error is one of GPG's: ErrNoSignature,
// ErrInvalidSignature, ErrMissingKey, ….
func (r *Repo) GPGVerify(ctx context.Context, remote string, data []byte, signatures [][]byte) error {
	if len(signatures) == 0 {
		return ErrNoSignature
	}
	c, done := cancellable(ctx)
	defer done()
	cremote, freeRemote := cstring(remote)
	defer freeRemote()
	cdata, freeData := gbytes(data)
	defer freeData()
	// OpenPGP signatures one after the other are a valid list of signatures.
	csignatures, freeSignatures := gbytes(bytes.Join(signatures, nil))
	defer freeSignatures()
	var gerr *C.GError
	if C.op_gpg_verify(r.c, cremote, cdata, csignatures, c, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}
