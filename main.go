// The programs of ostree-push in one binary: which of them it is is decided by
// the name it is called by.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"ostree-push/cli"
	"ostree-push/push"
	"ostree-push/receive"
	"ostree-push/shell"
)

// program is the main function of one of them. It returns the exit status.
type program func(name string, args []string, stdin, stdout, stderr *os.File) int

func programs() map[string]program {
	return map[string]program{
		"ostree-push":          push.Main,
		"ostree-receive":       receive.Main,
		"ostree-receive-1":     receive.Main,
		"ostree-receive-0":     receive.Main,
		"ostree-receive-shell": shell.Main,
	}
}

func main() {
	// A push of a million objects has large tables without pointers in them, which
	// are cheap to collect, and costly to have twice.
	debug.SetGCPercent(50)
	os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr))
}

func run(argv []string, stdin, stdout, stderr *os.File) int {
	// login(1) puts a dash before the name of a login shell.
	var name string
	if len(argv) > 0 {
		name = strings.TrimPrefix(filepath.Base(argv[0]), "-")
	}
	main, ok := programs()[name]
	if !ok {
		var names []string
		for name := range programs() {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintf(stderr, "%q is none of the names that this program answers to: %s\n", name, strings.Join(names, ", "))
		return cli.ExitUsage
	}
	return main(name, argv[1:], stdin, stdout, stderr)
}
