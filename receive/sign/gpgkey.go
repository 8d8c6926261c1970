package sign

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
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
	listing, err := gnupg("gpg", homedir, "--batch", "--no-autostart", "--no-auto-check-trustdb", "--lock-never",
		"--with-colons", "--with-keygrip", "--list-keys", "--", id)
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
