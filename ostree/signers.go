package ostree

// #include "signers.h"
import "C"

// Signers are the keys that RegenerateMetadata signs with, and those of GPG that WriteSummary does. The zero Signers sign
// nothing.
type Signers struct {
	GPGKeys    []string // ids of secret keys in GPGHomedir
	GPGHomedir string   // directory; "" for GnuPG's default
	SignType   string   // signature system of SecretKeys, which HasSign knows
	SecretKeys []string // in base64
}

// c returns a copy of s in C memory and the function that frees it.
func (s Signers) c() (*C.OpSigners, func()) {
	gpgKeys, freeGPGKeys := cstrv(s.GPGKeys)
	homedir, freeHomedir := cstringOrNil(s.GPGHomedir)
	signType, freeSignType := cstringOrNil(s.SignType)
	secretKeys, freeSecretKeys := cstrv(s.SecretKeys)
	c := (*C.OpSigners)(C.g_malloc0(C.sizeof_OpSigners))
	c.gpg_keys = gpgKeys
	c.gpg_homedir = homedir
	c.sign_type = signType
	c.sign_keys = secretKeys
	return c, func() {
		C.g_free(C.gpointer(c))
		freeGPGKeys()
		freeHomedir()
		freeSignType()
		freeSecretKeys()
	}
}
