package sign

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"

	"ostree-push/ostree"
)

// libostreeEngine is libostree's OstreeSign.
type libostreeEngine struct {
	signType string
	keys     keys
}

func (e *libostreeEngine) sign(ctx context.Context, data []byte) ([][]byte, error) {
	s, err := ostree.NewSign(e.signType)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var signatures [][]byte
	for _, key := range e.keys.secret {
		if err := s.SetSecretKey(key); err != nil {
			return nil, err
		}
		signature, err := s.Sign(ctx, data)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, signature)
	}
	return signatures, nil
}

func (e *libostreeEngine) verify(data []byte, signatures [][]byte) (bool, error) {
	// Given no key, libostree looks for some itself.
	if len(e.keys.public) == 0 {
		return false, nil
	}
	s, err := ostree.NewSign(e.signType)
	if err != nil {
		return false, err
	}
	defer s.Close()
	for _, key := range e.keys.public {
		if err := s.AddPublicKey(key); err != nil {
			return false, err
		}
	}
	if err := s.Verify(data, signatures); err != nil {
		return false, err
	}
	return true, nil
}

// goEngine is Go's ed25519. A secret key has 64 bytes, the seed and the public
// key, in libsodium as in Go.
type goEngine struct {
	secret []ed25519.PrivateKey
	public []ed25519.PublicKey
}

// newGoEngine takes keys that have been checked when they were read.
func newGoEngine(keys keys) *goEngine {
	e := &goEngine{}
	for _, key := range keys.secret {
		raw, _ := base64.StdEncoding.DecodeString(key)
		e.secret = append(e.secret, raw)
	}
	for _, key := range keys.public {
		raw, _ := base64.StdEncoding.DecodeString(key)
		e.public = append(e.public, raw)
	}
	return e
}

func (e *goEngine) sign(_ context.Context, data []byte) ([][]byte, error) {
	var signatures [][]byte
	for _, key := range e.secret {
		signatures = append(signatures, ed25519.Sign(key, data))
	}
	return signatures, nil
}

func (e *goEngine) verify(data []byte, signatures [][]byte) (bool, error) {
	for _, signature := range signatures {
		for _, key := range e.public {
			if ed25519.Verify(key, data, signature) {
				return true, nil
			}
		}
	}
	return false, nil
}
