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
)

// CheckGPGKey returns an error if this account cannot sign with the GPG key of that id in
// homedir, "" being GnuPG's default, as far as can be seen without signing, which would
// start an agent.
func CheckGPGKey(id, homedir string) error {
	if err := checkGPGKey(id, homedir); err != nil {
		return fmt.Errorf("gpg_sign key %s: %w", id, err)
	}
	return nil
}

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
