package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// momentSource is a library that is loaded into a program, and ends or stops it at the
// moment when libostree moves an object into a repository, or removes one from it.
const momentSource = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int calls;

static int is_in (int fd, const char *dir)
{
  char link[64], path[4096];
  snprintf (link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink (link, path, sizeof path - 1);
  if (n < 0 || !dir)
    return 0;
  path[n] = 0;
  return strcmp (path, dir) == 0;
}

static void call (const char *name, int fd)
{
  const char *wanted = getenv ("MOMENT_CALL"), *gate = getenv ("MOMENT_GATE");
  if (!wanted || strcmp (wanted, name) != 0 || !is_in (fd, getenv ("MOMENT_DIR")))
    return;
  if (__sync_add_and_fetch (&calls, 1) != atoi (getenv ("MOMENT_NUMBER")))
    return;
  if (!gate)
    kill (getpid (), SIGKILL);
  char c;
  int in = open (gate, O_RDONLY); /* waits for somebody to open the other end */
  while (read (in, &c, 1) > 0)
    ;
  close (in);
}

int renameat (int from_fd, const char *from, int to_fd, const char *to)
{
  int (*real) (int, const char *, int, const char *) = dlsym (RTLD_NEXT, "renameat");
  call ("renameat", to_fd);
  return real (from_fd, from, to_fd, to);
}

int unlinkat (int fd, const char *path, int flags)
{
  int (*real) (int, const char *, int) = dlsym (RTLD_NEXT, "unlinkat");
  call ("unlinkat", fd);
  return real (fd, path, flags);
}
`

// moment is when a program makes its Nth call of renameat or unlinkat in the objects
// of a repository.
type moment struct {
	library string
	call    string
	repo    string
	number  int
	gate    string // a pipe: the program waits there until it is closed. "": it is killed
}

// momentLibrary compiles the library.
func momentLibrary(t *testing.T) string {
	t.Helper()
	source := filepath.Join(t.TempDir(), "moment.c")
	if err := os.WriteFile(source, []byte(momentSource), 0o644); err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(t.TempDir(), "moment.so")
	output(t, "gcc", "-shared", "-fPIC", "-o", library, source, "-ldl")
	return library
}

// env has a program meet the moment.
func (m moment) env(t *testing.T) []string {
	t.Helper()
	repo, err := filepath.EvalSymlinks(m.repo)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{
		"LD_PRELOAD=" + m.library, "MOMENT_CALL=" + m.call,
		"MOMENT_DIR=" + filepath.Join(repo, "objects"), fmt.Sprint("MOMENT_NUMBER=", m.number),
	}
	if m.gate != "" {
		env = append(env, "MOMENT_GATE="+m.gate)
	}
	return env
}

// command is the receiver as the pusher has to run it for that.
func (m moment) command(t *testing.T) string {
	line := "--command=env"
	for _, variable := range m.env(t) {
		line += " " + variable
	}
	return line + " ostree-receive-1"
}

// killed runs a program up to the moment, and reports whether that came.
func (m moment) killed(t *testing.T, name string, args ...string) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), m.env(t)...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return false
}

// meanwhile runs a command up to the moment, has do done, and lets the command go on to
// its end.
func (m moment) meanwhile(t *testing.T, cmd *exec.Cmd, do func()) error {
	t.Helper()
	if err := unix.Mkfifo(m.gate, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	gate, err := openGate(t.Context(), m.gate, ended)
	if gate == nil {
		t.Errorf("the command ended before the moment came: %v", err)
		return err
	}
	do()
	gate.Close()
	return <-ended
}

// openGate waits until somebody waits at the gate, and returns nil and how the command
// ended if that comes first.
func openGate(ctx context.Context, gate string, ended <-chan error) (*os.File, error) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		f, err := os.OpenFile(gate, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			return f, nil
		}
		select {
		case err := <-ended:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
	}
}
