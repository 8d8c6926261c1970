package ostree

// #include "glue.h"
import "C"

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// GPGSignatures is the key, in detached metadata and in summary.sig, of OpenPGP
// signatures; those of the signature system TYPE have "ostree.sign.TYPE". The
// values are lists of byte arrays (aay).
const GPGSignatures = "ostree.gpgsigs"

// CommitObject returns a commit object as it is stored, which is what
// signatures are made over. It has been compared with its checksum.
func (r *Repo) CommitObject(sum Checksum) ([]byte, error) {
	csum, free := cstring(sum.String())
	defer free()
	var gerr *C.GError
	object := C.op_commit_object(r.c, csum, &gerr)
	if object == nil {
		return nil, gerror(gerr)
	}
	return takeBytes(object), nil
}

// CommitSignatures returns the signatures below key in a commit's detached
// metadata, none if there are none.
func (r *Repo) CommitSignatures(ctx context.Context, sum Checksum, key string) ([][]byte, error) {
	c, done := cancellable(ctx)
	defer done()
	csum, freeSum := cstring(sum.String())
	defer freeSum()
	ckey, freeKey := cstring(key)
	defer freeKey()
	var gerr *C.GError
	list := C.op_commit_signatures(r.c, csum, ckey, c, &gerr)
	if list == nil {
		return nil, gerror(gerr)
	}
	defer C.g_variant_unref(list)
	signatures := make([][]byte, int(C.g_variant_n_children(list)))
	for i := range signatures {
		signatures[i] = takeBytes(C.op_signatures_get(list, C.gsize(i)))
	}
	return signatures, nil
}

// AddCommitSignatures appends to the signatures below key in a commit's detached
// metadata those that it does not have yet. In a transaction they belong to it.
func (r *Repo) AddCommitSignatures(ctx context.Context, sum Checksum, key string, signatures [][]byte) error {
	c, done := cancellable(ctx)
	defer done()
	csum, freeSum := cstring(sum.String())
	defer freeSum()
	ckey, freeKey := cstring(key)
	defer freeKey()
	list, freeList := signatureList(signatures)
	defer freeList()
	var gerr *C.GError
	if C.op_add_commit_signatures(r.c, csum, ckey, list, c, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// AddSummarySignatures does so with summary.sig, which it replaces in one step.
func (r *Repo) AddSummarySignatures(key string, signatures [][]byte) error {
	path := filepath.Join(r.path, "summary.sig")
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ckey, freeKey := cstring(key)
	defer freeKey()
	list, freeList := signatureList(signatures)
	defer freeList()
	cold := C.CBytes(old)
	defer C.free(cold)
	return r.ReplaceFile("summary.sig", takeBytes(C.op_append_signatures(cold, C.gsize(len(old)), ckey, list)), 0o644)
}

// ReplaceFile gives a file in the repository's directory, by its name, new content, so that a reader, and whoever
// starts the machine after a crash, sees the old one or the new one. What a process that is killed leaves
// is in tmp/, where libostree removes it.
func (r *Repo) ReplaceFile(name string, content []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Join(r.path, "tmp"), name+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails when it has its new name
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(r.path, name)); err != nil {
		return err
	}
	return os.NewSyscallError("fsync", unix.Fsync(int(C.ostree_repo_get_dfd(r.c))))
}

func signatureList(signatures [][]byte) (*C.GVariant, func()) {
	builder := C.op_signatures_new()
	for _, s := range signatures {
		data := C.CBytes(s)
		C.op_signatures_add(builder, data, C.gsize(len(s)))
		C.free(data)
	}
	list := C.op_signatures_end(builder)
	return list, func() { C.g_variant_unref(list) }
}

// GPGSignCommit signs a commit with the secret key of that id in homedir, ""
// being GnuPG's default. A commit that has a signature of the key is left as it
// is, if the key is also in a keyring that libostree verifies with. In a transaction the signature belongs to it.
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

// GPGVerify checks that one of the signatures over data is valid and of a key
// that is trusted: one in libostree's global keyrings, or one that the
// configured remote has. The error is one of GPG's: ErrNoSignature,
// ErrInvalidSignature, ErrMissingKey, ….
func (r *Repo) GPGVerify(ctx context.Context, remote string, data []byte, signatures [][]byte) error {
	if len(signatures) == 0 {
		return ErrNoSignature
	}
	c, done := cancellable(ctx)
	defer done()
	cremote, freeRemote := cstring(remote)
	defer freeRemote()
	cdata := C.CBytes(data)
	defer C.free(cdata)
	// OpenPGP signatures one after the other are a valid list of signatures.
	all := bytes.Join(signatures, nil)
	csignatures := C.CBytes(all)
	defer C.free(csignatures)
	var gerr *C.GError
	if C.op_gpg_verify(r.c, cremote, cdata, C.gsize(len(data)), csignatures, C.gsize(len(all)), c, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// Signers are the keys that RegenerateMetadata signs with.
type Signers struct {
	GPGKeys    []string // key ids
	GPGHomedir string
	SignType   string   // of SecretKeys; one that HasSign
	SecretKeys []string // in base64
}

// c returns a copy in C memory and the function that frees it.
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
	cdata := C.CBytes(data)
	defer C.free(cdata)
	var gerr *C.GError
	signature := C.op_sign_data(s.c, cdata, C.gsize(len(data)), c, &gerr)
	if signature == nil {
		return nil, gerror(gerr)
	}
	return takeBytes(signature), nil
}

// Verify returns nil if one of the signatures over data is one of the public keys'.
func (s *Sign) Verify(data []byte, signatures [][]byte) error {
	list, free := signatureList(signatures)
	defer free()
	cdata := C.CBytes(data)
	defer C.free(cdata)
	var gerr *C.GError
	if C.op_sign_verify(s.c, cdata, C.gsize(len(data)), list, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// cstringOrNil is cstring, but NULL for "".
func cstringOrNil(s string) (*C.char, func()) {
	if s == "" {
		return nil, func() {}
	}
	return cstring(s)
}
