package ostree

// #include "sign.h"
import "C"

import (
	"context"
)

// Sign is a signature system of libostree other than GPG, with keys:
// https://ostreedev.github.io/ostree/reference/ostree-Signature-management.html
type Sign struct{ c *C.OstreeSign }

// HasSign reports whether the libostree that runs has the signature system name, such as "ed25519".
func HasSign(name string) bool {
	s, err := NewSign(name)
	if err == nil {
		s.Close()
	}
	return err == nil
}

// NewSign returns the signature system name, such as "ed25519", without keys. The caller closes the Sign.
func NewSign(name string) (*Sign, error) {
	cname, free := cstring(name)
	defer free()
	var gerr *C.GError
	c := C.ostree_sign_get_by_name(cname, &gerr)
	if c == nil {
		return nil, gerror(gerr)
	}
	return &Sign{c}, nil
}

// Close drops the keys, and frees s. It must be called once.
func (s *Sign) Close() {
	C.ostree_sign_clear_keys(s.c, nil)
	C.g_object_unref(C.gpointer(s.c))
}

// SetSecretKey makes a key, in base64, the one that Sign signs with. All keys of before are dropped.
func (s *Sign) SetSecretKey(key string) error {
	ckey, free := cstring(key)
	defer free()
	var gerr *C.GError
	if C.op_sign_set_secret_key(s.c, ckey, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// AddPublicKey makes Verify accept signatures of a key, in base64. Without any key Verify takes those in libostree's
// global files.
func (s *Sign) AddPublicKey(key string) error {
	ckey, free := cstring(key)
	defer free()
	var gerr *C.GError
	if C.op_sign_add_public_key(s.c, ckey, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// Sign returns a signature over data with the key of SetSecretKey.
func (s *Sign) Sign(ctx context.Context, data []byte) ([]byte, error) {
	c, done := cancellable(ctx)
	defer done()
	cdata, free := gbytes(data)
	defer free()
	var (
		signature *C.GBytes
		gerr      *C.GError
	)
	if C.ostree_sign_data(s.c, cdata, &signature, c, &gerr) == 0 {
		return nil, gerror(gerr)
	}
	return takeBytes(signature), nil
}

// Verify returns nil if one of the signatures over data is valid, and of one of the keys of AddPublicKey.
func (s *Sign) Verify(data []byte, signatures [][]byte) error {
	list, freeList := signatureList(signatures)
	defer freeList()
	cdata, freeData := gbytes(data)
	defer freeData()
	var gerr *C.GError
	if C.ostree_sign_data_verify(s.c, cdata, list, nil, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}
