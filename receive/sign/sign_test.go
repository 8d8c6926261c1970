package sign

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ostree-push/internal/otrepo"
	"ostree-push/ostree"
)

// libostrees opens a copy of the repository that libostree has signed.
func libostrees(t *testing.T) (*ostree.Repo, ostree.Checksum) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	if err := os.CopyFS(dir, os.DirFS("testdata/libostree")); err != nil {
		t.Fatal(err)
	}
	for _, empty := range []string{"tmp", "state", "extensions", "refs/remotes", "refs/mirrors"} {
		if err := os.MkdirAll(filepath.Join(dir, empty), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return open(t, dir, "main")
}

func open(t *testing.T, dir string, ref ostree.Ref) (*ostree.Repo, ostree.Checksum) {
	t.Helper()
	repo, err := ostree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(repo.Close)
	refs, err := repo.Refs(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return repo, refs[ref]
}

// unsigned makes a repository with a commit.
func unsigned(t *testing.T, collectionID string) (*ostree.Repo, ostree.Checksum) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	if err := otrepo.Init(dir, "archive"); err != nil {
		t.Fatal(err)
	}
	if collectionID != "" {
		f, err := os.OpenFile(filepath.Join(dir, "config"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("\ncollection-id=" + collectionID + "\n"); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if _, err := (otrepo.Commit{Ref: "main", Dir: t.TempDir(), Subject: "Unsigned"}).Write(dir); err != nil {
		t.Fatal(err)
	}
	return open(t, dir, "main")
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newKey returns the lines of a key file each.
func newKey(t *testing.T) (secret, public string) {
	t.Helper()
	pub, sec, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sec) + "\n", base64.StdEncoding.EncodeToString(pub) + "\n"
}

// eachEngine runs test with Go's engine, and with libostree's where it has one.
func eachEngine(t *testing.T, test func(t *testing.T, engine func(keys) engine)) {
	t.Run("go", func(t *testing.T) {
		test(t, func(k keys) engine { return newGoEngine(k) })
	})
	t.Run("libostree", func(t *testing.T) {
		if !ostree.HasSign(TypeEd25519) {
			t.Skip("this libostree has no ed25519")
		}
		test(t, func(k keys) engine { return &libostreeEngine{TypeEd25519, k} })
	})
}

// What libostree has signed verifies here, and signing the same with the same
// key gives the same signatures, byte by byte; so libostree verifies ours.
func TestLibostreesSignatures(t *testing.T) {
	ctx := context.Background()
	eachEngine(t, func(t *testing.T, engine func(keys) engine) {
		repo, sum := libostrees(t)
		public, err := readPublicKeys(TypeEd25519, "testdata/libostree/public.ed25519", nil)
		if err != nil {
			t.Fatal(err)
		}
		v := &Verifier{signType: TypeEd25519, engine: engine(keys{public: public})}
		if err := v.VerifyCommit(ctx, repo, sum); err != nil {
			t.Errorf("verify: %v", err)
		}

		secret, err := readSecretKeys(TypeEd25519, []string{"testdata/libostree/secret.ed25519"})
		if err != nil {
			t.Fatal(err)
		}
		s := &Signer{signType: TypeEd25519, engine: engine(keys{secret: secret})}
		theirs, err := repo.CommitSignatures(ctx, sum, "ostree.sign.ed25519")
		if err != nil || len(theirs) != 1 {
			t.Fatalf("their signatures: %d, %v", len(theirs), err)
		}
		// Signed again, there still is one: ours is the same.
		if err := s.SignCommit(ctx, repo, sum); err != nil {
			t.Fatal(err)
		}
		both, err := repo.CommitSignatures(ctx, sum, "ostree.sign.ed25519")
		if diff := cmp.Diff(theirs, both); err != nil || diff != "" {
			t.Errorf("ours is another signature: %v\n%s", err, diff)
		}
		sig := filepath.Join(repo.Path(), "summary.sig")
		want, err := os.ReadFile(sig)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(sig); err != nil {
			t.Fatal(err)
		}
		if err := s.SignSummary(ctx, repo); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(sig); err != nil || string(got) != string(want) {
			t.Errorf("summary.sig is %q, not %q: %v", got, want, err)
		}
	})
}

// Verification fails closed, whatever is wrong with the signatures.
func TestRefusals(t *testing.T) {
	ctx := context.Background()
	eachEngine(t, func(t *testing.T, engine func(keys) engine) {
		secret, public := newKey(t)
		otherSecret, _ := newKey(t)
		_, otherPublic := newKey(t)
		trim := strings.TrimSpace
		verifier := func(public ...string) *Verifier {
			return &Verifier{signType: TypeEd25519, engine: engine(keys{public: public})}
		}
		signatures := func(key string, data []byte) [][]byte {
			s, err := engine(keys{secret: []string{trim(key)}}).sign(ctx, data)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		for name, test := range map[string]struct {
			signatures func(commit []byte) [][]byte
			trusted    []string
			want       error
		}{
			"good":                {func(c []byte) [][]byte { return signatures(secret, c) }, []string{public}, nil},
			"one of two is good":  {func(c []byte) [][]byte { return append(signatures(otherSecret, c), signatures(secret, c)...) }, []string{public}, nil},
			"one of two trusted":  {func(c []byte) [][]byte { return signatures(secret, c) }, []string{otherPublic, public}, nil},
			"none":                {func(c []byte) [][]byte { return nil }, []string{public}, ErrNoSignature},
			"another key":         {func(c []byte) [][]byte { return signatures(otherSecret, c) }, []string{public}, ErrUntrusted},
			"over another commit": {func(c []byte) [][]byte { return signatures(secret, append(slices.Clone(c), 0)) }, []string{public}, ErrUntrusted},
			"tampered": {func(c []byte) [][]byte {
				s := signatures(secret, c)
				s[0][7] ^= 1
				return s
			}, []string{public}, ErrUntrusted},
			"too short":      {func(c []byte) [][]byte { return [][]byte{signatures(secret, c)[0][:63]} }, []string{public}, ErrUntrusted},
			"empty":          {func(c []byte) [][]byte { return [][]byte{{}} }, []string{public}, ErrUntrusted},
			"no trusted key": {func(c []byte) [][]byte { return signatures(secret, c) }, nil, ErrUntrusted},
		} {
			t.Run(name, func(t *testing.T) {
				repo, sum := unsigned(t, "")
				commit, err := repo.CommitObject(sum)
				if err != nil {
					t.Fatal(err)
				}
				if s := test.signatures(commit); s != nil {
					if err := repo.AddCommitSignatures(ctx, sum, "ostree.sign.ed25519", s); err != nil {
						t.Fatal(err)
					}
				}
				var trusted []string
				for _, key := range test.trusted {
					trusted = append(trusted, trim(key))
				}
				if err := verifier(trusted...).VerifyCommit(ctx, repo, sum); !errors.Is(err, test.want) {
					t.Errorf("%v, not %v", err, test.want)
				}
			})
		}
	})
}

// A commit object that is not what its name says is never verified: a signature
// over it says nothing about the commit of that name.
func TestCorruptCommit(t *testing.T) {
	ctx := context.Background()
	repo, sum := libostrees(t)
	other, otherSum := unsigned(t, "")
	path := func(r *ostree.Repo, sum ostree.Checksum) string {
		s := sum.String()
		return filepath.Join(r.Path(), "objects", s[:2], s[2:]+".commit")
	}
	signed, err := os.ReadFile(path(repo, sum))
	if err != nil {
		t.Fatal(err)
	}
	signatures, err := repo.CommitSignatures(ctx, sum, "ostree.sign.ed25519")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.AddCommitSignatures(ctx, otherSum, "ostree.sign.ed25519", signatures); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path(other, otherSum)); err != nil {
		t.Fatal(err)
	}
	write(t, path(other, otherSum), string(signed))

	var v Verifier
	if err := v.VerifySign(TypeEd25519, "testdata/libostree/public.ed25519", nil); err != nil {
		t.Fatal(err)
	}
	if err := v.VerifyCommit(ctx, other, otherSum); err == nil || !strings.Contains(err.Error(), "is corrupt") {
		t.Errorf("%v", err)
	}
}

// Global files count, trusted and revoked, and those in their directories.
func TestGlobalKeys(t *testing.T) {
	secret, public := newKey(t)
	_, second := newKey(t)
	_, third := newKey(t)
	etc, usr := t.TempDir(), t.TempDir()
	write(t, filepath.Join(etc, "trusted.ed25519"), second)
	write(t, filepath.Join(usr, "trusted.ed25519.d", "some.name"), "\n"+third+"\n")
	file := write(t, filepath.Join(t.TempDir(), "keys"), public)
	read := func(dirs ...string) []string {
		t.Helper()
		keys, err := readPublicKeys(TypeEd25519, file, dirs)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	want := []string{strings.TrimSpace(public), strings.TrimSpace(second), strings.TrimSpace(third)}
	if diff := cmp.Diff(want, read(etc, usr)); diff != "" {
		t.Error(diff)
	}
	write(t, filepath.Join(usr, "revoked.ed25519"), second)
	write(t, filepath.Join(etc, "revoked.ed25519.d", "lost"), public)
	if diff := cmp.Diff(want[2:], read(etc, usr)); diff != "" {
		t.Error(diff)
	}

	// The only key of the configured file is revoked: nobody is trusted.
	os.Remove(filepath.Join(usr, "trusted.ed25519.d", "some.name"))
	var v Verifier
	err := v.VerifySign(TypeEd25519, file, []string{etc, usr})
	if err == nil || err.Error() != "sign_verify is on, but no ed25519 key is trusted: set sign_trustedkeyfile" {
		t.Errorf("%v", err)
	}
	_ = secret
}

// What is wrong with a key file is an error, and never a key less.
func TestBadKeys(t *testing.T) {
	secret, public := newKey(t)
	otherSecret, _ := newKey(t)
	dir := t.TempDir()
	raw := func(s string) []byte {
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	halves := base64.StdEncoding.EncodeToString(append(raw(secret)[:32:32], raw(otherSecret)[32:]...))
	signing := func(file string) error {
		_, err := NewSigner(nil, "", TypeEd25519, []string{file})
		return err
	}
	verifying := func(file string) error {
		return new(Verifier).VerifySign(TypeEd25519, file, nil)
	}
	revoked := func(file string) error {
		global := t.TempDir()
		if err := os.Symlink(file, filepath.Join(global, "revoked.ed25519")); err != nil {
			t.Fatal(err)
		}
		good := write(t, filepath.Join(dir, "good"), public)
		return new(Verifier).VerifySign(TypeEd25519, good, []string{global})
	}
	for name, test := range map[string]struct {
		do      func(file string) error
		content string
		want    string
	}{
		"secret: empty":         {signing, "\n", "there is no key in it"},
		"secret: no base64":     {signing, secret + "*" + secret, "file:2: not a key in base64"},
		"secret: public key":    {signing, public, "file:1: an ed25519 secret key has 64 bytes, this one has 32"},
		"secret: halves":        {signing, halves, "do not belong together"},
		"trusted: empty":        {verifying, "", "there is no key in it"},
		"trusted: secret key":   {verifying, "\n" + secret, "file:2: an ed25519 public key has 32 bytes, this one has 64"},
		"trusted: comment":      {verifying, public + "# mine\n", "file:2: not a key in base64"},
		"trusted: too large":    {verifying, strings.Repeat(public, maxKeyFile/len(public)+1), "larger than"},
		"revoked: no base64":    {revoked, "!\n", "revoked.ed25519:1: not a key in base64"},
		"revoked: wrong length": {revoked, secret, "revoked.ed25519:1: an ed25519 public key has 32 bytes"},
	} {
		file := write(t, filepath.Join(dir, "file"), test.content)
		err := test.do(file)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Contains(err.Error(), secret[:10]) || strings.Contains(err.Error(), halves[:10]) {
			t.Errorf("%s: the key is in the error: %v", name, err)
		}
	}
	if err := verifying(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	// A directory of keys that cannot be listed may hide a revocation.
	global := t.TempDir()
	write(t, filepath.Join(global, "revoked.ed25519.d"), "")
	if err := new(Verifier).VerifySign(TypeEd25519, write(t, filepath.Join(dir, "good"), public), []string{global}); err == nil {
		t.Error("revoked.ed25519.d is no directory, and nobody minds")
	}
}

func TestSignTypes(t *testing.T) {
	secret, _ := newKey(t)
	file := write(t, filepath.Join(t.TempDir(), "keys"), secret)
	for _, signType := range []string{"dummy", "rot13", "", "../ed25519"} {
		if _, err := NewSigner(nil, "", signType, []string{file}); err == nil {
			t.Errorf("signing with %q", signType)
		}
		if err := new(Verifier).VerifySign(signType, file, nil); err == nil {
			t.Errorf("verifying %q", signType)
		}
	}
	err := new(Verifier).VerifySign(TypeSPKI, file, nil)
	if has := ostree.HasSign(TypeSPKI); has != (err == nil) {
		t.Errorf("libostree has spki: %v; %v", has, err)
	}
}

func TestPEM(t *testing.T) {
	block := func(content string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte(content)}))
	}
	file := filepath.Join(t.TempDir(), "keys")
	write(t, file, block("one")+"\n"+block("two"))
	got, err := readKeys(file, TypeSPKI, checkPublicKey)
	if diff := cmp.Diff([]string{"b25l", "dHdv"}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	write(t, file, block("one")+"-----BEGIN PUBLIC KEY-----\nb25l\n")
	if got, err := readKeys(file, TypeSPKI, checkPublicKey); err == nil {
		t.Errorf("damaged: %q", got)
	}
}

// The metadata is signed whole: the summary, and the commit that a repository
// with a collection id has of it.
func TestRegenerateMetadata(t *testing.T) {
	ctx := context.Background()
	secret, public := newKey(t)
	dir := t.TempDir()
	signer, err := NewSigner(nil, "", TypeEd25519, []string{write(t, filepath.Join(dir, "secret"), secret)})
	if err != nil {
		t.Fatal(err)
	}
	var v Verifier
	if err := v.VerifySign(TypeEd25519, write(t, filepath.Join(dir, "public"), public), nil); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "org.example.Collection"} {
		repo, _ := unsigned(t, id)
		for range 2 {
			if err := signer.RegenerateMetadata(ctx, repo); err != nil {
				t.Fatal(err)
			}
		}
		summary, err := repo.Summary()
		if err != nil {
			t.Fatal(err)
		}
		sig, err := os.ReadFile(filepath.Join(repo.Path(), "summary.sig"))
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(public))
		if !ed25519.Verify(raw, summary, signatureIn(t, sig)) {
			t.Errorf("%q: summary.sig is not a signature of the summary", id)
		}
		refs, err := repo.Refs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if sum, ok := refs[ostree.MetadataRef]; ok != (id != "") {
			t.Errorf("%q: refs are %v", id, refs)
		} else if ok {
			if err := v.VerifyCommit(ctx, repo, sum); err != nil {
				t.Errorf("%s: %v", ostree.MetadataRef, err)
			}
		}
	}
}

// signatureIn returns the only signature in a summary.sig: after the key's name,
// which is padded to 8 bytes.
func signatureIn(t *testing.T, sig []byte) []byte {
	t.Helper()
	const start = 24
	if !strings.HasPrefix(string(sig), "ostree.sign.ed25519\x00") || len(sig) < start+ed25519.SignatureSize {
		t.Fatalf("summary.sig is %q", sig)
	}
	return sig[start : start+ed25519.SignatureSize]
}
