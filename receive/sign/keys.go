package sign

import (
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// keys are keys in base64, as libostree takes them.
type keys struct {
	secret []string
	public []string
}

// maxKeyFile bounds what is read of a key file, in bytes.
const maxKeyFile = 1 << 20

// readSecretKeys reads the secret keys in files, each of which has at least one.
func readSecretKeys(signType string, files []string) ([]string, error) {
	var all []string
	for _, file := range files {
		found, err := readKeys(file, signType, checkSecretKey)
		if err != nil {
			return nil, fmt.Errorf("sign_keyfiles keyfile: %w", err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("sign_keyfiles keyfile: %s: there is no key in it", file)
		}
		all = append(all, found...)
	}
	return all, nil
}

// readPublicKeys reads the trusted keys in file, if it is not "", and in the
// global files, and takes out those that have been revoked. Global are the
// files trusted.TYPE and revoked.TYPE, and all in the directories trusted.TYPE.d
// and revoked.TYPE.d, of each directory
// (https://ostreedev.github.io/ostree/man/ostree-sign.html).
func readPublicKeys(signType, file string, globalDirs []string) ([]string, error) {
	var trusted []string
	if file != "" {
		found, err := readKeys(file, signType, checkPublicKey)
		if err != nil {
			return nil, fmt.Errorf("sign_trustedkeyfile keyfile: %w", err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("sign_trustedkeyfile keyfile: %s: there is no key in it", file)
		}
		trusted = found
	}
	global, err := readGlobalKeys("trusted", signType, globalDirs)
	if err != nil {
		return nil, err
	}
	revoked, err := readGlobalKeys("revoked", signType, globalDirs)
	if err != nil {
		return nil, err
	}
	trusted = append(trusted, global...)
	return slices.DeleteFunc(trusted, func(key string) bool { return slices.Contains(revoked, key) }), nil
}

func readGlobalKeys(kind, signType string, dirs []string) ([]string, error) {
	var all []string
	for _, dir := range dirs {
		name := filepath.Join(dir, kind+"."+signType)
		files := []string{name}
		entries, err := os.ReadDir(name + ".d")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s keys: %w", kind, err)
		}
		for _, entry := range entries {
			if !entry.IsDir() {
				files = append(files, filepath.Join(name+".d", entry.Name()))
			}
		}
		for _, file := range files {
			found, err := readKeys(file, signType, checkPublicKey)
			if errors.Is(err, fs.ErrNotExist) && file == name {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s keys: %w", kind, err)
			}
			all = append(all, found...)
		}
	}
	return all, nil
}

// readKeys reads a file of keys: one in base64 a line for ed25519, PEM for spki,
// where one in base64 a line is understood too. Errors say where a key is wrong,
// and nothing of the key.
func readKeys(file, signType string, check func(signType string, key []byte) error) ([]string, error) {
	content, err := readFile(file)
	if err != nil {
		return nil, err
	}
	if signType == TypeSPKI && strings.Contains(content, "-----BEGIN ") {
		return readPEM(file, content)
	}
	var found []string
	n := 0
	for line := range strings.Lines(content) {
		n++
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: not a key in base64", file, n)
		}
		if err := check(signType, raw); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		found = append(found, base64.StdEncoding.EncodeToString(raw))
	}
	return found, nil
}

func readFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return "", err
	}
	if len(content) > maxKeyFile {
		return "", fmt.Errorf("%s: larger than %d bytes", file, maxKeyFile)
	}
	return string(content), nil
}

func readPEM(file, content string) ([]string, error) {
	var found []string
	rest := []byte(content)
	for {
		block, next := pem.Decode(rest)
		if block == nil {
			break
		}
		found = append(found, base64.StdEncoding.EncodeToString(block.Bytes))
		rest = next
	}
	if strings.Contains(string(rest), "-----BEGIN ") {
		return nil, fmt.Errorf("%s: damaged PEM", file)
	}
	return found, nil
}

func checkSecretKey(signType string, key []byte) error {
	if signType != TypeEd25519 {
		return nil
	}
	if len(key) != ed25519.PrivateKeySize {
		return fmt.Errorf("an ed25519 secret key has %d bytes, this one has %d", ed25519.PrivateKeySize, len(key))
	}
	// A signature with somebody else's public key would reveal the seed.
	if subtle.ConstantTimeCompare(ed25519.NewKeyFromSeed(key[:ed25519.SeedSize]), key) != 1 {
		return errors.New("the two halves of this ed25519 secret key do not belong together")
	}
	return nil
}

func checkPublicKey(signType string, key []byte) error {
	if signType == TypeEd25519 && len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("an ed25519 public key has %d bytes, this one has %d", ed25519.PublicKeySize, len(key))
	}
	return nil
}
