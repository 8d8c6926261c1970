// Package shell is the restricted login shell, ostree-receive-shell: it runs the
// receivers for a pusher, and nothing else. It works as the login shell of an
// account, and as the command that sshd is told to run instead of the client's.
//
// Nothing of what the client wants to have run reaches a real shell.
package shell

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/kballard/go-shellquote"
	"golang.org/x/sys/unix"

	"ostree-push/cli"
	"ostree-push/receive"
	"ostree-push/report"
)

// Exit statuses, as shells have them.
const (
	exitRefused       = 1
	exitNotExecutable = 126
	exitNotFound      = 127
)

// programs are those that may be run.
var programs = []string{"ostree-receive-1", "ostree-receive-0", "ostree-receive"}

// originalCommand is where sshd puts what the client wanted when it runs another
// command (sshd_config(5), ForceCommand).
const originalCommand = "SSH_ORIGINAL_COMMAND"

// connection is where sshd puts the addresses of both ends.
const connection = "SSH_CONNECTION"

// failure is what ends the shell.
type failure struct {
	status int
	text   string
}

func (f *failure) Error() string { return f.text }

func refuse(format string, args ...any) error {
	return &failure{exitRefused, fmt.Sprintf(format, args...)}
}

var errInteractive = refuse("Cannot run interactively")

// greeting is said to somebody who has logged in to see whether that works: it
// does, and an error alone would not tell.
func greeting(account string) string {
	return fmt.Sprintf("Hi, you have authenticated as %s, and can push here with ostree-push, but there is no shell.", account)
}

// account returns the name of the account, or its number if it has none.
func account() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprint(os.Geteuid())
}

// Main is the program: args are its arguments without the name. It returns the
// exit status, unless it has become another program.
func Main(name string, args []string, stdin, stdout, stderr *os.File) int {
	j, err := parse(name, args, os.LookupEnv)
	if err == nil {
		// Whatever the client has sent for it.
		err = errors.Join(os.Setenv(receive.RestrictedEnv, "1"), os.Setenv("PATH", searchPath()))
	}
	if err == nil && j.limits != nil {
		// A program that is found on PATH might not know of the limits.
		return receive.MainWithin(*j.limits, j.words[0], j.words[1:], stdin, stdout, stderr)
	}
	if err == nil {
		err = become(j.words)
	}
	return exit(name, err, stderr)
}

func exit(name string, err error, stderr io.Writer) int {
	fmt.Fprintf(stderr, "%s: %v\n", name, err)
	if os.Getenv(connection) != "" && errors.Is(err, errInteractive) {
		fmt.Fprintln(stderr, greeting(account()))
	}
	if f := (*failure)(nil); errors.As(err, &f) {
		return f.status
	}
	return exitRefused
}

// job is what is to be run.
type job struct {
	words  []string        // the first is one of programs
	limits *receive.Limits // nil: none
}

// parse decides what is to be run. There are three ways to get here:
//
//	ostree-receive-shell -c LINE     as the login shell, for the client's LINE
//	ostree-receive-shell [LIMITS]    as a forced command, run by a normal shell
//	ostree-receive-shell -c 'ostree-receive-shell [LIMITS]'   as both
func parse(name string, args []string, env func(string) (string, bool)) (*job, error) {
	line, forced := env(originalCommand)
	switch {
	case len(args) == 2 && args[0] == "-c":
		words, err := split(args[1])
		if err != nil {
			return nil, err
		}
		// Only sshd sets the variable, and then the line is the administrator's,
		// unless that has the client's as an argument: then they are the same.
		if forced && args[1] != line && filepath.Base(words[0]) == name {
			return parseForced(words[1:], line)
		}
		return checked(words, nil)
	case len(args) == 0 && !forced:
		return nil, errInteractive
	case len(args) > 0 && !isLimit(args[0]) && !(forced && strings.HasPrefix(args[0], "--")):
		return nil, refuse("Must be run with no arguments or with -c cmd")
	}
	return parseForced(args, line)
}

// parseForced is what a forced command with those limits does with the client's
// line.
func parseForced(args []string, line string) (*job, error) {
	limits, err := parseLimits(args)
	if err != nil {
		return nil, err
	}
	// A client that wants a shell gives no line.
	if line == "" {
		return nil, errInteractive
	}
	words, err := split(line)
	if err != nil {
		return nil, err
	}
	return checked(words, limits)
}

// split splits a command line into words, of which there is at least one.
func split(line string) ([]string, error) {
	words, err := shellquote.Split(line)
	if err != nil {
		return nil, refuse("Cannot split command line: %v", err)
	}
	if len(words) == 0 {
		return nil, refuse("Command line is empty")
	}
	return words, nil
}

func checked(words []string, limits *receive.Limits) (*job, error) {
	if !slices.Contains(programs, words[0]) {
		return nil, refuse("Executing %s not allowed", shown(words[0]))
	}
	allowed := receive.PusherOptions()
	for _, word := range words[1:] {
		if word == "--" {
			break
		}
		if !allowedOption(word, allowed) {
			return nil, refuse("Option %s not allowed", shown(word))
		}
	}
	if err := expandHome(words); err != nil {
		return nil, err
	}
	return &job{words, limits}, nil
}

// allowedOption reports whether word is no option, or one of those that a client may use.
func allowedOption(word string, allowed []cli.Option) bool {
	if !strings.HasPrefix(word, "-") || word == "-" {
		return true
	}
	var short strings.Builder
	for _, option := range allowed {
		if word == option.Long || option.HasValue && strings.HasPrefix(word, option.Long+"=") {
			return true
		}
		short.WriteString(option.Short)
	}
	return !strings.HasPrefix(word, "--") && strings.Trim(word[1:], short.String()) == ""
}

// become runs a program in the place of this one.
func become(words []string) error {
	path, err := find(words[0])
	if err == nil {
		err = syscall.Exec(path, words, os.Environ())
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &failure{exitNotFound, words[0] + ": No such file or directory"}
	case errors.Is(err, fs.ErrPermission):
		return &failure{exitNotExecutable, words[0] + ": Permission denied"}
	}
	return &failure{exitNotExecutable, fmt.Sprintf("%s: %v", words[0], err)}
}

// searchPath returns the PATH that programs are looked for on, and that they get:
// that of the session, and then the directory of this program, so that a receiver
// and what its hook runs are found even if they are installed in a place of their own.
func searchPath() string {
	path := os.Getenv("PATH")
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	dir := filepath.Dir(self)
	switch {
	case err != nil || slices.Contains(filepath.SplitList(path), dir):
		return path
	case path == "":
		return dir
	}
	return path + string(os.PathListSeparator) + dir
}

// find looks for a program on PATH. Of what is found and may not be executed, the
// error says so if nothing else is found. Directories that are not absolute are left
// out: they would be in the account's home, where a pusher may be able to write.
func find(program string) (string, error) {
	found := fs.ErrNotExist
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if !filepath.IsAbs(dir) {
			continue
		}
		path := filepath.Join(dir, program)
		info, err := os.Stat(path)
		if err != nil || info.IsDir() {
			continue
		}
		if unix.Access(path, unix.X_OK) == nil {
			return path, nil
		}
		found = fs.ErrPermission
	}
	return "", found
}

// shown returns what a client has sent, not all of it if it is long, as it may be shown.
func shown(s string) string {
	const most = 200
	return report.Printable(report.Shortened(s, most))
}
