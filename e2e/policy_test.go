package e2e

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"ostree-push/ostree"
)

// What scripts about the receiver's policy need: configuration files and keys.

// configure [FILE...] makes FILEs, in which variables are expanded ($$ is $), the
// receiver's configuration files: as ostree-receive.conf or .toml, by their
// extensions. There are no others then.
func configure(ts *testscript.TestScript, neg bool, files []string) {
	dir := filepath.Join(ts.Getenv("HOME"), ".config", "ostree")
	ts.Check(os.MkdirAll(dir, 0o755))
	for _, ext := range []string{".conf", ".toml"} {
		os.Remove(filepath.Join(dir, "ostree-receive"+ext))
	}
	for _, file := range files {
		content := os.Expand(ts.ReadFile(file), func(name string) string {
			if name == "$" {
				return name
			}
			return ts.Getenv(name)
		})
		ts.Check(os.WriteFile(filepath.Join(dir, "ostree-receive"+filepath.Ext(file)), []byte(content), 0o644))
	}
	only := os.DevNull
	switch len(files) {
	case 0:
	case 1:
		only = filepath.Join(dir, "ostree-receive"+filepath.Ext(files[0]))
	default:
		only = "" // the system's count as well, if there are any
	}
	readOnly(ts, only)
}

// configVariable is what names the only configuration file to the script and, in
// sshd_config, to its sessions.
const configVariable = "OSTREE_RECEIVE_CONF"

// readOnly makes a file the only one that receivers read their configuration from:
// what this machine has in /etc/ostree is none of a script's business.
func readOnly(ts *testscript.TestScript, file string) {
	ts.Setenv(configVariable, file)
	sshd := filepath.Join(ts.Getenv("SSHDIR"), "sshd_config")
	content, err := os.ReadFile(sshd)
	ts.Check(err)
	content = regexp.MustCompile(`"`+configVariable+`=[^"]*"`).ReplaceAllLiteral(content, []byte(`"`+configVariable+"="+file+`"`))
	ts.Check(os.WriteFile(sshd, content, 0o600))
}

// gpg-key NAME makes a key pair. NAME_HOME is the GnuPG home with the secret
// key, NAME_KEY the id; NAME.gpg and NAME.asc are files with the public key, and
// NAME.revoked has it with its revocation.
func makeGPGKey(ts *testscript.TestScript, neg bool, args []string) {
	name := args[0]
	// The agent's sockets are in there, whose paths must be short.
	home, err := os.MkdirTemp("", "gpg")
	ts.Check(err)
	ts.Defer(func() {
		exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		os.RemoveAll(home)
	})
	gpg := func(input string, args ...string) string {
		cmd := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--yes"}, args...)...)
		cmd.Stdin = strings.NewReader(input)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			ts.Fatalf("gpg %q: %v\n%s", args, err, stderr.String())
		}
		return string(out)
	}
	gpg("", "--passphrase", "", "--quick-gen-key", name+" <"+strings.ToLower(name)+"@example.org>", "ed25519", "sign", "never")
	for line := range strings.Lines(gpg("", "--list-keys", "--with-colons")) {
		if fields := strings.Split(line, ":"); fields[0] == "pub" {
			ts.Setenv(name+"_KEY", fields[4])
		}
	}
	ts.Setenv(name+"_HOME", home)
	gpg("", "--export", "--output", ts.MkAbs(name+".gpg"))
	gpg("", "--export", "--armor", "--output", ts.MkAbs(name+".asc"))

	// The revocation, in a keyring apart: it is guarded by a colon.
	certificates, _ := filepath.Glob(filepath.Join(home, "openpgp-revocs.d", "*.rev"))
	certificate, err := os.ReadFile(certificates[0])
	ts.Check(err)
	other, err := os.MkdirTemp("", "gpg")
	ts.Check(err)
	defer func() {
		exec.Command("gpgconf", "--homedir", other, "--kill", "all").Run()
		os.RemoveAll(other)
	}()
	gpg("", "--homedir", other, "--import", ts.MkAbs(name+".gpg"))
	gpg(strings.ReplaceAll(string(certificate), ":-----BEGIN", "-----BEGIN"), "--homedir", other, "--import")
	gpg("", "--homedir", other, "--export", "--output", ts.MkAbs(name+".revoked"))
}

// ed25519Main is a program for scripts, apart from the code under test:
//
//	ed25519 key SECRET PUBLIC          make a key pair
//	ed25519 sign REPO REF SECRET       sign a commit
//	ed25519 verify REPO REF PUBLIC     verify a commit, and the summary
func ed25519Main() {
	if err := ed25519Run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "ed25519:", err)
		os.Exit(1)
	}
}

func ed25519Run(command string, args []string) error {
	if command == "key" {
		public, secret, err := ed25519.GenerateKey(nil)
		if err != nil {
			return err
		}
		for i, key := range [][]byte{secret, public} {
			if err := os.WriteFile(args[i], []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
				return err
			}
		}
		return nil
	}
	text, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	revision, err := exec.Command("ostree", "rev-parse", "--repo="+args[0], args[1]).Output()
	if err != nil {
		return err
	}
	sum := strings.TrimSpace(string(revision))
	object := func(extension string) ([]byte, error) {
		return os.ReadFile(filepath.Join(args[0], "objects", sum[:2], sum[2:]+extension))
	}
	commit, err := object(".commit")
	if err != nil {
		return err
	}
	if command == "sign" {
		repo, err := ostree.Open(args[0])
		if err != nil {
			return err
		}
		defer repo.Close()
		checksum, err := ostree.ParseChecksum(sum)
		if err != nil {
			return err
		}
		return repo.AddCommitSignatures(context.Background(), checksum, "ostree.sign.ed25519", [][]byte{ed25519.Sign(key, commit)})
	}
	signatures, err := object(".commitmeta")
	if err != nil {
		return err
	}
	if !signedWith(key, commit, signatures) {
		return fmt.Errorf("commit %s has no valid signature", sum)
	}
	summary, err := os.ReadFile(filepath.Join(args[0], "summary"))
	if err != nil {
		return err
	}
	signatures, err = os.ReadFile(filepath.Join(args[0], "summary.sig"))
	if err != nil {
		return err
	}
	if !signedWith(key, summary, signatures) {
		return fmt.Errorf("the summary has no valid signature")
	}
	return nil
}

// signedWith reports whether a signature of key over data is somewhere in
// metadata, after the name that libostree looks for.
func signedWith(key ed25519.PublicKey, data, metadata []byte) bool {
	_, rest, ok := strings.Cut(string(metadata), "ostree.sign.ed25519\x00")
	for i := 0; ok && i+ed25519.SignatureSize <= len(rest); i++ {
		if ed25519.Verify(key, data, []byte(rest[i:i+ed25519.SignatureSize])) {
			return true
		}
	}
	return false
}
