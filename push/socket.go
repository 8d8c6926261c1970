package push

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ostree-push/cli"
)

const (
	// socketName is the control socket, in a directory of its own.
	socketName = "s"
	// socketRoom is what ssh appends to the path while it makes the socket: a dot and
	// 16 characters.
	socketRoom = 17
	// maxSocket is how long the path of a socket may be (unix(7)), without the NUL.
	maxSocket = 107
)

// socketDir makes a private directory for the control socket. The path of a socket is
// short, and that of TMPDIR may be long: a workspace of a build system is.
func socketDir() (string, error) {
	var problem error
	for _, parent := range []string{os.TempDir(), os.Getenv("XDG_RUNTIME_DIR"), "/tmp", "/var/tmp"} {
		if !filepath.IsAbs(parent) && parent != os.TempDir() {
			continue
		}
		dir, err := socketDirIn(parent)
		if err == nil {
			return dir, nil
		}
		if problem == nil {
			problem = err
		}
	}
	return "", cli.Hint(fmt.Errorf("make a directory for the ssh connection: %w", problem), "set TMPDIR to a directory that can be written, with a short path")
}

func socketDirIn(parent string) (string, error) {
	parent, err := filepath.Abs(parent)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(parent, "ostree-push-")
	if err != nil {
		return "", err
	}
	socket := filepath.Join(dir, socketName)
	switch {
	case len(socket)+socketRoom > maxSocket:
		err = fmt.Errorf("the path of a socket in %s would have %d characters, and %d are the most", parent, len(socket)+socketRoom, maxSocket)
	case strings.Contains(socket, "${"):
		err = fmt.Errorf("ssh would take a part of %s for a variable", parent)
	}
	if err != nil {
		os.Remove(dir)
		return "", err
	}
	return dir, nil
}

// forSSH is a path as ssh's -S takes it.
func forSSH(path string) string { return strings.ReplaceAll(path, "%", "%%") }
