// Demo shows ostree-push at work: a tree is committed to a repository, pushed
// to another one through a private sshd on this machine, changed, and pushed
// again. Each command is printed before a shell runs it, just as printed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ostree-push/internal/sshd"
)

func main() {
	bin := flag.String("bin", "", "`directory` with ostree-push, ostree-receive and ostree-receive-1")
	flag.Parse()
	if *bin == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	// Nobody reads this, but a write to a closed pipe now is an error, and not
	// the end of us before all is cleaned up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, *bin)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin string) (err error) {
	bin, err = filepath.Abs(bin)
	if err != nil {
		return err
	}
	// Otherwise one that is installed could be shown in its place.
	for _, program := range []string{"ostree-push", "ostree-receive"} {
		if _, err := exec.LookPath(filepath.Join(bin, program)); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "ostree-push-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	keys := filepath.Join(dir, "sshd")
	if err := os.Mkdir(keys, 0o700); err != nil {
		return err
	}
	path := bin + ":" + os.Getenv("PATH")
	server, err := sshd.Start(sshd.Config{Dir: keys, Path: path})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()

	sh := &shell{dir: dir, env: append(os.Environ(),
		"PATH="+path,
		"USER="+server.User(),
		"SSH_OPTIONS="+strings.Join(server.ClientOptions(), " "),
	)}
	for _, step := range []struct{ title, commands string }{
		{"A tree of files becomes a commit in a local repository.", `
mkdir tree
cp -rL /usr/share/common-licenses tree/licenses
echo "Hello, world." >tree/hello
ostree init --repo=local --mode=archive
ostree commit --repo=local --branch=demo/stable --subject="First" --owner-uid=0 --owner-gid=0 --timestamp="1 hour ago" tree
`},
		{"On the server, which is this machine, there is an empty repository.", `
ostree init --repo=remote --mode=archive
`},
		{"The first push. These options lead ssh to a private sshd with keys of its own.", `
echo "$SSH_OPTIONS" | sed "s| -|\n-|g"
ostree-push $SSH_OPTIONS --repo=local "$USER@127.0.0.1:$PWD/remote" demo/stable
ostree refs --repo=remote
`},
		{"The tree changes, and the update is pushed.", `
echo "Hello again." >>tree/hello
rm tree/licenses/Artistic
ostree commit --repo=local --branch=demo/stable --subject="Second" --owner-uid=0 --owner-gid=0 tree
ostree-push $SSH_OPTIONS --repo=local "$USER@127.0.0.1:$PWD/remote" demo/stable
`},
		{"The server has both commits, and every object is intact.", `
ostree refs --repo=remote
ostree log --repo=remote demo/stable
ostree diff --repo=remote demo/stable^ demo/stable
ostree cat --repo=remote demo/stable /hello
ostree fsck --repo=remote
`},
	} {
		fmt.Printf("\n# %s\n", step.title)
		for command := range strings.Lines(strings.TrimSpace(step.commands)) {
			if err := sh.run(ctx, strings.TrimSuffix(command, "\n")); err != nil {
				return err
			}
		}
	}
	return nil
}

// A shell runs one command after another.
type shell struct {
	dir string
	env []string
}

func (s *shell) run(ctx context.Context, command string) error {
	if _, err := fmt.Println("$ " + command); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir = s.dir
	cmd.Env = s.env
	cmd.Stdout = os.Stdout
	cmd.Stderr = os.Stdout // as a terminal would show it

	// In a group of its own, all of the command can be ended, and is not
	// interrupted by a Ctrl-C before we are.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if cmd.Process != nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // there may be none left to kill
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}
