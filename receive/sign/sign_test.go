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
	"ostree-push/receive/config"
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
	return openRepo(t, dir, "main")
}

func openRepo(t *testing.T, dir string, ref ostree.Ref) (*ostree.Repo, ostree.Checksum) {
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
	return openRepo(t, dir, "main")
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
func eachEngine(t *testing.T, test func(t *testing.T, engine func(base64Keys) engine)) {
	t.Run("go", func(t *testing.T) {
		test(t, func(k base64Keys) engine { return newGoEngine(k) })
	})
	t.Run("libostree", func(t *testing.T) {
		if !ostree.HasSign(ed25519Files().signType) {
			t.Skip("this libostree has no ed25519")
		}
		test(t, func(k base64Keys) engine { return &libostreeEngine{ed25519Files().signType, k} })
	})
}

// withEngine has the keys of an ed25519 engine sign and verify.
func withEngine(e engine) *Keys {
	k := &keyfileKeys{ed25519Files(), e}
	return &Keys{[]keys{{system: ed25519Files().system(), secret: k, trusted: k}}}
}

// signingWith and verifyingWith are the policies with such keys.
func signingWith(signType, file string) *config.Config {
	return &config.Config{SignType: signType, SignKeyfiles: []string{file}}
}

func verifyingWith(signType, file string) *config.Config {
	return &config.Config{SignType: signType, SignVerify: true, SignTrustedKeyfile: file}
}

// What libostree has signed verifies here, and signing the same with the same
// key gives the same signatures, byte by byte; so libostree verifies ours.
func TestLibostreesSignatures(t *testing.T) {
	ctx := context.Background()
	eachEngine(t, func(t *testing.T, engine func(base64Keys) engine) {
		repo, sum := libostrees(t)
		public, err := ed25519Files().readPublic("testdata/libostree/public.ed25519", nil)
		if err != nil {
			t.Fatal(err)
		}
		v := withEngine(engine(base64Keys{public: public}))
		if err := v.VerifyCommit(ctx, repo, sum); err != nil {
			t.Errorf("verify: %v", err)
		}

		secret, err := ed25519Files().readSecret([]string{"testdata/libostree/secret.ed25519"})
		if err != nil {
			t.Fatal(err)
		}
		s := withEngine(engine(base64Keys{secret: secret}))
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
		if err := s.SignFlatpakSummary(ctx, repo); err != nil {
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
	eachEngine(t, func(t *testing.T, engine func(base64Keys) engine) {
		secret, public := newKey(t)
		otherSecret, _ := newKey(t)
		_, otherPublic := newKey(t)
		trim := strings.TrimSpace
		verifier := func(public ...string) *Keys {
			return withEngine(engine(base64Keys{public: public}))
		}
		signatures := func(key string, data []byte) [][]byte {
			s, err := engine(base64Keys{secret: []string{trim(key)}}).sign(ctx, data)
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

	v, err := open(verifyingWith("ed25519", "testdata/libostree/public.ed25519"), nil)
	if err != nil {
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
		keys, err := ed25519Files().readPublic(file, dirs)
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
	_, err := open(verifyingWith("ed25519", file), []string{etc, usr})
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
		_, err := open(signingWith("ed25519", file), nil)
		return err
	}
	verifying := func(file string) error {
		_, err := open(verifyingWith("ed25519", file), nil)
		return err
	}
	revoked := func(file string) error {
		global := t.TempDir()
		if err := os.Symlink(file, filepath.Join(global, "revoked.ed25519")); err != nil {
			t.Fatal(err)
		}
		good := write(t, filepath.Join(dir, "good"), public)
		_, err := open(verifyingWith("ed25519", good), []string{global})
		return err
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
	if _, err := open(verifyingWith("ed25519", write(t, filepath.Join(dir, "good"), public)), []string{global}); err == nil {
		t.Error("revoked.ed25519.d is no directory, and nobody minds")
	}
}

// Each system of the table is whole, and can be told from the others.
func TestSystems(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range systems() {
		if s.missing == nil || s.read == nil || s.check == nil {
			t.Errorf("%s: the entry is not whole", s.name)
		}
		for _, name := range []string{"name " + s.name, "sign_type " + s.signType, "signatures " + s.signatures} {
			if seen[name] {
				t.Errorf("%s: another system has that %s, too", s.name, name)
			}
			seen[name] = true
		}
		if s.always && s.missing() != nil {
			t.Errorf("%s: %v", s.name, s.missing())
		}
		// A policy that names no keys asks for none.
		if k, err := s.read(&config.Config{SignType: s.signType}, nil); err != nil || k.secret != nil || k.trusted != nil {
			t.Errorf("%s: it has keys that nobody has configured: %v, %v", s.name, k, err)
		}
	}
}

// What is wrong with keys is found whole, each by its option, and nothing else is.
func TestProblems(t *testing.T) {
	dir := t.TempDir()
	bad := write(t, filepath.Join(dir, "bad"), "*\n")
	secret, public := newKey(t)
	good := signingWith("ed25519", write(t, filepath.Join(dir, "secret"), secret))
	good.SignVerify, good.SignTrustedKeyfile = true, write(t, filepath.Join(dir, "public"), public)
	for name, test := range map[string]struct {
		c    *config.Config
		want []string
	}{
		"none":         {&config.Config{SignType: "ed25519"}, nil},
		"good":         {good, nil},
		"unused type":  {&config.Config{SignType: "rot13"}, nil},
		"no such type": {signingWith("rot13", bad), []string{"sign_type"}},
		"both":         {&config.Config{SignType: "ed25519", SignKeyfiles: []string{bad, bad}, SignVerify: true, SignTrustedKeyfile: bad}, []string{"sign_trustedkeyfile", "sign_keyfiles", "sign_keyfiles"}},
		"no key":       {&config.Config{SignType: "ed25519", SignVerify: true}, []string{"sign_verify"}},
		"not there":    {verifyingWith("ed25519", filepath.Join(dir, "nowhere")), nil}, // config.KeyProblems
		"no GPG key":   {&config.Config{SignType: "ed25519", GPGSign: []string{"0123456789ABCDEF"}, GPGHomedir: dir}, []string{"gpg_sign"}},
	} {
		var got []string
		for _, problem := range problems(test.c, nil) {
			got = append(got, problem.Option)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestSignTypes(t *testing.T) {
	secret, _ := newKey(t)
	file := write(t, filepath.Join(t.TempDir(), "keys"), secret)
	for _, signType := range []string{"dummy", "rot13", "", "../ed25519"} {
		if _, err := open(signingWith(signType, file), nil); err == nil {
			t.Errorf("signing with %q", signType)
		}
		if _, err := open(verifyingWith(signType, file), nil); err == nil {
			t.Errorf("verifying %q", signType)
		}
	}
	_, err := open(verifyingWith("spki", file), nil)
	if has := ostree.HasSign("spki"); has != (err == nil) {
		t.Errorf("libostree has spki: %v; %v", has, err)
	}
}

func TestPEM(t *testing.T) {
	block := func(content string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte(content)}))
	}
	file := filepath.Join(t.TempDir(), "keys")
	write(t, file, block("one")+"\n"+block("two"))
	got, err := spkiFiles().readFile(file, nil)
	if diff := cmp.Diff([]string{"b25l", "dHdv"}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	write(t, file, block("one")+"-----BEGIN PUBLIC KEY-----\nb25l\n")
	if got, err := spkiFiles().readFile(file, nil); err == nil {
		t.Errorf("damaged: %q", got)
	}
}

// The metadata is signed whole: the summary, and the commit that a repository
// with a collection id has of it.
func TestWriteMetadataSigned(t *testing.T) {
	ctx := context.Background()
	secret, public := newKey(t)
	dir := t.TempDir()
	c := verifyingWith("ed25519", write(t, filepath.Join(dir, "public"), public))
	c.SignKeyfiles = []string{write(t, filepath.Join(dir, "secret"), secret)}
	k, err := open(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "org.example.Collection"} {
		repo, _ := unsigned(t, id)
		for range 2 {
			if err := k.WriteMetadataSigned(ctx, repo); err != nil {
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
			if err := k.VerifyCommit(ctx, repo, sum); err != nil {
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
