package ostree

// #include "gpg.h"
import "C"

import (
	"bytes"
	"context"
)

// GPGSignatures is the key of OpenPGP signatures, a list of byte arrays (aay), in the detached metadata of a commit
// and in summary.sig. Signatures of the system TYPE have the key "ostree.sign.TYPE".
const GPGSignatures = "ostree.gpgsigs"

// GPGSignCommit signs a commit with the secret key keyID of the GnuPG directory homedir ("" for GnuPG's default).
// A commit that is signed with the key already is left as it is, as far as libostree sees that: if it has the
// key in a keyring that it verifies with. In a transaction the signature is staged.
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

// GPGVerify returns nil if one of the signatures over data is valid and of a trusted key: of one in libostree's global
// keyrings, or in that of the configured remote. Else the error is ErrNoSignature, ErrInvalidSignature,
// ErrMissingKey, or another one.
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
