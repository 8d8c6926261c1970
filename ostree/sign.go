package ostree

// #include "sign.h"
import "C"

import (
	"context"
)

// Sign is one of libostree's signature systems other than GPG, with its keys.
// https://ostreedev.github.io/ostree/reference/ostree-Signature-management.html
type Sign struct{ c *C.OstreeSign }

// HasSign reports whether this libostree has the signature system name.
func HasSign(name string) bool {
	s, err := NewSign(name)
	if err == nil {
		s.Close()
	}
	return err == nil
}

// NewSign returns the signature system name, without keys.
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

// Close forgets the keys, and frees s. It must be called once.
func (s *Sign) Close() {
	C.ostree_sign_clear_keys(s.c, nil)
	C.g_object_unref(C.gpointer(s.c))
}

// SetSecretKey makes s sign with key (base64), and forget all other keys.
func (s *Sign) SetSecretKey(key string) error {
	ckey, free := cstring(key)
	defer free()
	var gerr *C.GError
	if C.op_sign_set_secret_key(s.c, ckey, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// AddPublicKey makes s accept signatures of key (base64). Without any, libostree
// would take those in its global files.
func (s *Sign) AddPublicKey(key string) error {
	ckey, free := cstring(key)
	defer free()
	var gerr *C.GError
	if C.op_sign_add_public_key(s.c, ckey, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// Sign returns the signature over data.
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

// Verify returns nil if one of the signatures over data is one of the public keys'.
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
