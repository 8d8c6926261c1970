package sign

import (
	"context"
	"fmt"
	"strings"

	"ostree-push/ostree"
	"ostree-push/receive/config"
)

// system is a signature system. A new one is an entry of systems, and a file: nothing else asks which one it has.
type system struct {
	name       string // in messages
	signType   string // the sign_type that selects it; "": it has options of its own
	signatures string // the key of its signatures in detached metadata and in summary.sig
	// missing returns an error if it cannot be used on this machine.
	missing func() error
	// always: it is never missing.
	always bool
	// read reads the keys that the configuration names for it. Trusted keys may be in dirs, too.
	read func(c *config.Config, dirs []string) (keys, error)
	// check returns what is wrong with those keys for this account, all of it. What is not there
	// is none of that: config.KeyProblems has it.
	check func(c *config.Config, dirs []string) []config.Problem
}

// keys are those of one system.
type keys struct {
	system  system
	secret  secretKeys  // nil: nothing is to be signed
	trusted trustedKeys // nil: no signature is asked for
	close   func()      // gives back what they hold; nil: nothing
}

// secretKeys sign. Their errors say what was to be signed, and with what.
type secretKeys interface {
	// signCommit adds to a commit the signatures that it does not have yet.
	signCommit(ctx context.Context, repo *ostree.Repo, sum ostree.Checksum) error
	// signSummary adds signatures to the summary's, unless whoever writes a summary does it: see lend and flatpakOptions.
	signSummary(ctx context.Context, repo *ostree.Repo) error
	// lend has libostree sign the metadata that it regenerates, and reports whether it can.
	lend(signers *ostree.Signers) bool
	// flatpakOptions are those by which flatpak signs the summary that it writes.
	flatpakOptions() []string
}

// trustedKeys verify.
type trustedKeys interface {
	// verify returns nil if one of the signatures over a commit object is valid and of a trusted key,
	// ErrUntrusted if none is. repo is one that nobody else has, as a quarantine is: its config may be added to.
	verify(ctx context.Context, repo *ostree.Repo, object []byte, signatures [][]byte) error
}

// systems are all signature systems, in the order in which they sign and verify. libostree's "dummy", which would take
// anybody's word, is none.
func systems() []system {
	return []system{gpg(), ed25519Files().system(), spkiFiles().system()}
}

// checkType returns an error if no signature system can be used that sign_type selects.
func checkType(signType string) error {
	var uses []string
	for _, s := range systems() {
		switch {
		case s.signType == "":
			continue
		case s.signType == signType:
			return s.missing()
		case s.always:
			uses = append(uses, s.signType)
		default:
			uses = append(uses, s.signType+" where libostree has it")
		}
	}
	return fmt.Errorf("sign_type %q is not supported: use %s", signType, strings.Join(uses, ", or "))
}

// usesType reports whether the policy needs the system that sign_type selects.
func usesType(c *config.Config) bool { return c.SignVerify || len(c.SignKeyfiles) > 0 }

// Problems returns what is wrong with the keys of a policy for this account, but that they are not there, which
// config.KeyProblems finds.
func Problems(c *config.Config) []config.Problem { return problems(c, globalDirs()) }

func problems(c *config.Config, dirs []string) (all []config.Problem) {
	if usesType(c) {
		if err := checkType(c.SignType); err != nil {
			all = append(all, config.Problem{Option: "sign_type", Err: err})
		}
	}
	for _, s := range systems() {
		all = append(all, s.check(c, dirs)...)
	}
	return all
}

// globalDirs are the directories of libostree's global key files.
func globalDirs() []string { return []string{"/etc/ostree", "/usr/share/ostree"} }
