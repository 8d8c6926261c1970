package sign

import (
	"context"
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"

	"ostree-push/ostree"
)

// ed25519Files is ed25519, as libostree and libsodium have it.
func ed25519Files() keyfileSystem {
	return keyfileSystem{
		signType: "ed25519", checkSecret: checkEd25519Secret, checkPublic: checkEd25519Public, fallback: newGoEngine,
	}
}

func checkEd25519Secret(key []byte) error {
	if len(key) != ed25519.PrivateKeySize {
		return fmt.Errorf("an ed25519 secret key has %d bytes, this one has %d", ed25519.PrivateKeySize, len(key))
	}
	// A signature with somebody else's public key would reveal the seed.
	if subtle.ConstantTimeCompare(ed25519.NewKeyFromSeed(key[:ed25519.SeedSize]), key) != 1 {
		return errors.New("the two halves of this ed25519 secret key do not belong together")
	}
	return nil
}

func checkEd25519Public(key []byte) error {
	if len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("an ed25519 public key has %d bytes, this one has %d", ed25519.PublicKeySize, len(key))
	}
	return nil
}

// goEngine is Go's ed25519. A secret key has 64 bytes, the seed and the public
// key, in libsodium as in Go.
type goEngine struct {
	secret []ed25519.PrivateKey
	public []ed25519.PublicKey
}

// newGoEngine takes keys that have been checked when they were read.
func newGoEngine(keys base64Keys) engine {
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

// lend is false: libostree has no ed25519 where this is used.
func (e *goEngine) lend(*ostree.Signers) bool { return false }
