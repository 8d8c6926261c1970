package sign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ostree-push/ostree"
	"ostree-push/receive/config"
)

// gpg is the system whose keys are GnuPG's.
func gpg() system {
	return system{
		name: "GPG", signatures: ostree.GPGSignatures, always: true,
		missing: func() error { return nil },
		read:    readGPG,
		check:   checkGPG,
	}
}

// readGPG opens the keyring that is configured, so that one that is missing is noticed before anything
// else happens, and makes the directory that libostree runs gpg in.
func readGPG(c *config.Config, _ []string) (k keys, err error) {
	if !c.GPGVerify && len(c.GPGSign) == 0 {
		return keys{}, nil
	}
	trusted := &gpgKeyring{}
	if c.GPGVerify && c.GPGTrustedKeys != "" {
		if trusted.file, err = openKeyring(c.GPGTrustedKeys); err != nil {
			return keys{}, err
		}
	}
	dir, err := newGPGDir()
	if err != nil {
		trusted.close()
		return keys{}, err
	}
	k.close = func() {
		trusted.close()
		dir.remove()
	}
	if c.GPGVerify {
		k.trusted = trusted
	}
	if len(c.GPGSign) > 0 {
		k.secret = &gpgKeys{c.GPGSign, c.GPGHomedir}
	}
	return k, nil
}

func openKeyring(file string) (*os.File, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("gpg_trustedkeys keyring: %w", err)
	}
	return f, nil
}

// checkGPG finds what is wrong as far as can be seen without signing, which would start an agent.
func checkGPG(c *config.Config, _ []string) (all []config.Problem) {
	if file := c.GPGTrustedKeys; file != "" && there(file) {
		if f, err := openKeyring(file); err != nil {
			all = append(all, config.Problem{Option: "gpg_trustedkeys", Err: err})
		} else {
			f.Close()
		}
	}
	for _, id := range c.GPGSign {
		if !there(c.GPGHomedir) {
			break
		}
		if err := checkGPGKey(id, c.GPGHomedir); err != nil {
			all = append(all, config.Problem{Option: "gpg_sign", Err: fmt.Errorf("gpg_sign key %s: %w", id, err)})
		}
	}
	return all
}

// gpgKeys are secret keys. libostree and flatpak themselves sign with them.
type gpgKeys struct {
	ids     []string
	homedir string // "": GnuPG's default
}

func (k *gpgKeys) signCommit(ctx context.Context, repo *ostree.Repo, sum ostree.Checksum) error {
	for _, id := range k.ids {
		signed, err := hasGPGSignature(ctx, repo, sum, id, k.homedir)
		if err == nil && !signed {
			err = repo.GPGSignCommit(ctx, sum, id, k.homedir)
		}
		if err != nil {
			return fmt.Errorf("sign commit %s with GPG key %s: %w", sum, id, err)
		}
	}
	return nil
}

func (k *gpgKeys) signSummary(context.Context, *ostree.Repo) error { return nil }

func (k *gpgKeys) lend(signers *ostree.Signers) bool {
	signers.GPGKeys, signers.GPGHomedir = k.ids, k.homedir
	return true
}

func (k *gpgKeys) flatpakOptions() (options []string) {
	for _, id := range k.ids {
		options = append(options, "--gpg-sign="+id)
	}
	if k.homedir != "" {
		options = append(options, "--gpg-homedir="+k.homedir)
	}
	return options
}

// gpgKeyring has trusted keys, besides those in libostree's global keyrings.
type gpgKeyring struct {
	file *os.File // nil: none
}

func (k *gpgKeyring) close() {
	if k.file != nil {
		k.file.Close()
	}
}

// keyringRemote is a remote that nothing is pulled from: libostree verifies with the keys of a remote.
const keyringRemote = "_keyring"

// prepare makes the keyring that of the remote, unless it is already.
func (k *gpgKeyring) prepare(repo *ostree.Repo) error {
	const url = "file:///nowhere"
	if repo.ConfigOption(fmt.Sprintf("remote %q", keyringRemote), "url") == url {
		return nil
	}
	options := map[string]string{}
	if k.file != nil {
		// The name of the file may have characters in it that separate names
		// in this option.
		options["gpgkeypath"] = fmt.Sprintf("/proc/self/fd/%d", k.file.Fd())
	}
	return repo.AddRemote(keyringRemote, url, options)
}

func (k *gpgKeyring) verify(ctx context.Context, repo *ostree.Repo, object []byte, signatures [][]byte) error {
	if err := k.prepare(repo); err != nil {
		return fmt.Errorf("set up the keyring: %w", err)
	}
	if err := repo.GPGVerify(ctx, keyringRemote, object, signatures); err != nil {
		if ctx.Err() != nil {
			return ctx.Err() // it says nothing of the signatures
		}
		// libostree describes each signature in a line or two.
		return fmt.Errorf("%w: %s", ErrUntrusted, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// checkGPGKey returns an error if this account cannot sign with the GPG key of that id in
// homedir, "" being GnuPG's default.
func checkGPGKey(id, homedir string) error {
	listing, err := listGPGKey(id, homedir)
	if err != nil {
		return err
	}
	dirs, err := gnupg("gpgconf", homedir, "--list-dirs")
	if err != nil {
		return err
	}
	home, socket := dirOf(dirs, "homedir"), filepath.Dir(dirOf(dirs, "agent-socket"))
	if err := readableSecret(listing, filepath.Join(home, "private-keys-v1.d")); err != nil {
		return err
	}
	if err := unix.Faccessat(unix.AT_FDCWD, socket, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return &os.PathError{Op: "make the agent's socket in", Path: socket, Err: err}
	}
	return nil
}

// listGPGKey returns what gpg says of a key and its subkeys, for programs.
func listGPGKey(id, homedir string) (string, error) {
	return gnupg("gpg", homedir, "--batch", "--no-autostart", "--no-auto-check-trustdb", "--lock-never",
		"--with-colons", "--with-keygrip", "--list-keys", "--", id)
}

// hasGPGSignature reports whether a commit has a valid signature of the key of that id in homedir. libostree knows that
// only of keys that are in the keyrings which it verifies with, as the server's own need not be.
func hasGPGSignature(ctx context.Context, repo *ostree.Repo, sum ostree.Checksum, id, homedir string) (bool, error) {
	signatures, err := repo.CommitSignatures(ctx, sum, ostree.GPGSignatures)
	if err != nil || len(signatures) == 0 {
		return false, err
	}
	object, err := repo.CommitObject(sum)
	if err != nil {
		return false, err
	}
	listing, err := listGPGKey(id, homedir)
	if err != nil {
		return false, err
	}
	keys := fingerprints(listing)
	// One by one: what is wrong with one is not to hide another.
	for _, signature := range signatures {
		signer, err := signerOf(ctx, object, signature, homedir)
		if err != nil || slices.Contains(keys, signer) {
			return err == nil, err
		}
	}
	return false, nil
}

// fingerprints returns those of the keys in gpg's listing.
func fingerprints(listing string) (all []string) {
	for line := range strings.Lines(listing) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" && len(fields) > 9 {
			all = append(all, fields[9])
		}
	}
	return all
}

// signerOf returns the fingerprint of the key in homedir that has made a signature over data, "" if it is not
// valid or of no such key.
func signerOf(ctx context.Context, data, signature []byte, homedir string) (string, error) {
	fd, err := unix.MemfdCreate("signature", unix.MFD_CLOEXEC)
	if err != nil {
		return "", os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "signature")
	defer f.Close()
	if _, err := f.Write(signature); err != nil {
		return "", err
	}
	args := []string{"--batch", "--no-autostart", "--no-auto-check-trustdb", "--lock-never", "--status-fd=1", "--verify", "/dev/fd/3", "-"}
	if homedir != "" {
		args = append([]string{"--homedir", homedir}, args...)
	}
	cmd := exec.CommandContext(ctx, "gpg", args...)
	cmd.Stdin, cmd.ExtraFiles = bytes.NewReader(data), []*os.File{f}
	out, err := cmd.Output()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		return "", err
	}
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(line, "[GNUPG:] VALIDSIG "); ok {
			signer, _, _ := strings.Cut(rest, " ")
			return signer, nil
		}
	}
	return "", ctx.Err()
}

// readableSecret returns an error if none of the keys in gpg's listing, a key and its
// subkeys, has a secret in dir that can be read.
func readableSecret(listing, dir string) error {
	err := errors.New("gpg knows no such key")
	for line := range strings.Lines(listing) {
		fields := strings.Split(line, ":")
		if fields[0] != "grp" || len(fields) < 10 {
			continue
		}
		var f *os.File
		if f, err = os.Open(filepath.Join(dir, fields[9]+".key")); err == nil {
			f.Close()
			return nil
		}
	}
	return err
}

// dirOf returns what gpgconf says of a name: NAME:VALUE, with % for what has a meaning.
func dirOf(listing, name string) string {
	for line := range strings.Lines(listing) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return strings.NewReplacer("%3a", ":", "%25", "%", "%2c", ",").Replace(value)
		}
	}
	return ""
}

// gnupg returns what one of GnuPG's programs prints, or the last line of its complaints.
func gnupg(program, homedir string, args ...string) (string, error) {
	if homedir != "" {
		args = append([]string{"--homedir", homedir}, args...)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		lines := strings.Split(strings.TrimSpace(string(exit.Stderr)), "\n")
		return "", errors.New(lines[len(lines)-1])
	}
	return string(out), err
}
