package sign

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ostree-push/ostree"
	"ostree-push/receive/config"
)

// keyfileSystem is a signature system of sign_type: its keys are in files, and it signs any data.
type keyfileSystem struct {
	signType string // libostree's name for it, too
	pem      bool   // files may be PEM
	// checkSecret and checkPublic return an error if a key cannot be one; nil: there is nothing to see.
	checkSecret, checkPublic func(key []byte) error
	// fallback is used where libostree does not have it; nil: there is none.
	fallback func(base64Keys) engine
}

// base64Keys are keys in base64, as libostree takes them.
type base64Keys struct {
	secret []string
	public []string
}

// engine makes and checks signatures.
type engine interface {
	// sign returns one signature over data for each secret key.
	sign(ctx context.Context, data []byte) ([][]byte, error)
	// verify reports whether one of the signatures over data is valid, and of a
	// key that is trusted.
	verify(data []byte, signatures [][]byte) (bool, error)
	// lend is that of secretKeys.
	lend(signers *ostree.Signers) bool
}

func (s keyfileSystem) system() system {
	return system{
		name: s.signType, signType: s.signType, signatures: s.signatures(),
		always: s.fallback != nil, missing: s.missing, read: s.readKeys, check: s.check,
	}
}

// signatures is where they are, as libostree's OSTREE_SIGN_METADATA_ED25519_KEY and
// OSTREE_SIGN_METADATA_SPKI_KEY have it.
func (s keyfileSystem) signatures() string { return "ostree.sign." + s.signType }

func (s keyfileSystem) missing() error {
	if s.fallback == nil && !ostree.HasSign(s.signType) {
		return fmt.Errorf("sign_type %q is not supported by the libostree in use", s.signType)
	}
	return nil
}

// engine returns the one that signs and verifies with keys.
func (s keyfileSystem) engine(keys base64Keys) engine {
	if s.fallback == nil || ostree.HasSign(s.signType) {
		return &libostreeEngine{s.signType, keys}
	}
	return s.fallback(keys)
}

// readKeys reads the keys, if sign_type selects this system.
func (s keyfileSystem) readKeys(c *config.Config, dirs []string) (k keys, err error) {
	if c.SignType != s.signType {
		return keys{}, nil
	}
	if len(c.SignKeyfiles) > 0 {
		if k.secret, err = s.readSigner(c.SignKeyfiles); err != nil {
			return keys{}, err
		}
	}
	if c.SignVerify {
		if k.trusted, err = s.readVerifier(c.SignTrustedKeyfile, dirs); err != nil {
			return keys{}, err
		}
	}
	return k, nil
}

func (s keyfileSystem) readSigner(files []string) (secretKeys, error) {
	secret, err := s.readSecret(files)
	if err != nil {
		return nil, err
	}
	return &keyfileKeys{s, s.engine(base64Keys{secret: secret})}, nil
}

func (s keyfileSystem) readVerifier(file string, dirs []string) (trustedKeys, error) {
	public, err := s.readPublic(file, dirs)
	if err != nil {
		return nil, err
	}
	if len(public) == 0 {
		return nil, fmt.Errorf("sign_verify is on, but no %s key is trusted: set sign_trustedkeyfile", s.signType)
	}
	return &keyfileKeys{s, s.engine(base64Keys{public: public})}, nil
}

// check reads the keys, file by file.
func (s keyfileSystem) check(c *config.Config, dirs []string) (all []config.Problem) {
	if c.SignType != s.signType || s.missing() != nil {
		return nil
	}
	add := func(option string, err error) {
		if err != nil {
			all = append(all, config.Problem{Option: option, Err: err})
		}
	}
	if c.SignVerify && there(c.SignTrustedKeyfile) {
		option := "sign_verify"
		if c.SignTrustedKeyfile != "" {
			option = "sign_trustedkeyfile"
		}
		_, err := s.readVerifier(c.SignTrustedKeyfile, dirs)
		add(option, err)
	}
	for _, file := range c.SignKeyfiles {
		if there(file) {
			_, err := s.readSecret([]string{file})
			add("sign_keyfiles", err)
		}
	}
	return all
}

// keyfileKeys are keys from files: secret ones, or trusted ones.
type keyfileKeys struct {
	system keyfileSystem
	engine engine
}

func (k *keyfileKeys) signCommit(ctx context.Context, repo *ostree.Repo, sum ostree.Checksum) error {
	object, err := repo.CommitObject(sum)
	if err != nil {
		return k.notSigned("commit "+sum.String(), err)
	}
	signatures, err := k.engine.sign(ctx, object)
	if err == nil {
		err = repo.AddCommitSignatures(ctx, sum, k.system.signatures(), signatures)
	}
	return k.notSigned("commit "+sum.String(), err)
}

func (k *keyfileKeys) signSummary(ctx context.Context, repo *ostree.Repo) error {
	summary, err := repo.Summary()
	if err != nil {
		return err
	}
	signatures, err := k.engine.sign(ctx, summary)
	if err == nil {
		err = repo.AddSummarySignatures(k.system.signatures(), signatures)
	}
	return k.notSigned("the summary", err)
}

func (k *keyfileKeys) notSigned(what string, err error) error {
	if err != nil {
		err = fmt.Errorf("sign %s with %s: %w", what, k.system.signType, err)
	}
	return err
}

func (k *keyfileKeys) lend(signers *ostree.Signers) bool { return k.engine.lend(signers) }

// flatpakOptions are none: flatpak signs with GPG alone.
func (k *keyfileKeys) flatpakOptions() []string { return nil }

func (k *keyfileKeys) verify(_ context.Context, _ *ostree.Repo, object []byte, signatures [][]byte) error {
	ok, err := k.engine.verify(object, signatures)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if !ok {
		return ErrUntrusted
	}
	return nil
}

// libostreeEngine is libostree's OstreeSign.
type libostreeEngine struct {
	signType string
	keys     base64Keys
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

// lend lends the keys, of which libostree takes those of one system.
func (e *libostreeEngine) lend(signers *ostree.Signers) bool {
	if signers.SignType != "" {
		return false
	}
	signers.SignType, signers.SecretKeys = e.signType, e.keys.secret
	return true
}

// there reports whether there is something at path, or none is configured.
func there(path string) bool {
	_, err := os.Stat(path)
	return path == "" || err == nil
}

// maxKeyFile bounds what is read of a key file, in bytes.
const maxKeyFile = 1 << 20

// readSecret reads the secret keys in files, each of which has at least one.
func (s keyfileSystem) readSecret(files []string) ([]string, error) {
	var all []string
	for _, file := range files {
		found, err := s.readFile(file, s.checkSecret)
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

// readPublic reads the trusted keys in file, if it is not "", and in the
// global files, and takes out those that have been revoked. Global are the
// files trusted.TYPE and revoked.TYPE, and all in the directories trusted.TYPE.d
// and revoked.TYPE.d, of each directory
// (https://ostreedev.github.io/ostree/man/ostree-sign.html).
func (s keyfileSystem) readPublic(file string, globalDirs []string) ([]string, error) {
	var trusted []string
	if file != "" {
		found, err := s.readFile(file, s.checkPublic)
		if err != nil {
			return nil, fmt.Errorf("sign_trustedkeyfile keyfile: %w", err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("sign_trustedkeyfile keyfile: %s: there is no key in it", file)
		}
		trusted = found
	}
	global, err := s.readGlobal("trusted", globalDirs)
	if err != nil {
		return nil, err
	}
	revoked, err := s.readGlobal("revoked", globalDirs)
	if err != nil {
		return nil, err
	}
	trusted = append(trusted, global...)
	return slices.DeleteFunc(trusted, func(key string) bool { return slices.Contains(revoked, key) }), nil
}

func (s keyfileSystem) readGlobal(kind string, dirs []string) ([]string, error) {
	var all []string
	for _, dir := range dirs {
		name := filepath.Join(dir, kind+"."+s.signType)
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
			found, err := s.readFile(file, s.checkPublic)
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

// readFile reads a file of keys: one in base64 a line, or PEM. Errors say where a key is wrong,
// and nothing of the key.
func (s keyfileSystem) readFile(file string, check func(key []byte) error) ([]string, error) {
	content, err := readText(file)
	if err != nil {
		return nil, err
	}
	if s.pem && strings.Contains(content, "-----BEGIN ") {
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
		if check != nil {
			if err := check(raw); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", file, n, err)
			}
		}
		found = append(found, base64.StdEncoding.EncodeToString(raw))
	}
	return found, nil
}

func readText(file string) (string, error) {
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
