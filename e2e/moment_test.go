package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// momentSource is a library that is loaded into a program, and ends or stops it at the
// moment when libostree, or what is compiled into it, moves a file into a directory of a repository, or removes one from it.
const momentSource = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
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

int renameat2 (int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
  int (*real) (int, const char *, int, const char *, unsigned) = dlsym (RTLD_NEXT, "renameat2");
  const char *refused = getenv ("MOMENT_NO_FLAGS");
  if (flags && refused)
    {
      errno = atoi (refused);
      return -1;
    }
  call ("renameat", to_fd);
  return real (from_fd, from, to_fd, to, flags);
}

int unlinkat (int fd, const char *path, int flags)
{
  int (*real) (int, const char *, int) = dlsym (RTLD_NEXT, "unlinkat");
  call ("unlinkat", fd);
  return real (fd, path, flags);
}
`

// moment is when a program makes its Nth call of renameat (or renameat2) or unlinkat, as libostree and package ostree do, with a path
// that begins at a directory.
type moment struct {
	library string
	call    string
	dir     string
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
	dir, err := filepath.EvalSymlinks(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{
		"LD_PRELOAD=" + m.library, "MOMENT_CALL=" + m.call, "MOMENT_DIR=" + dir, fmt.Sprint("MOMENT_NUMBER=", m.number),
	}
	if m.gate != "" {
		env = append(env, "MOMENT_GATE="+m.gate)
	}
	return env
}

// command has a pusher run a receiver that meets the moment.
func (m moment) command(t *testing.T, env ...string) string {
	return "--command=" + strings.Join(m.receiver(t, "ostree-receive-1", env...), " ")
}

func (m moment) receiver(t *testing.T, name string, env ...string) []string {
	return slices.Concat([]string{"env"}, env, m.env(t), []string{name})
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
		t.Errorf("%s: %v\n%s", cmd, err, out)
	}
	return false
}

// meanwhile has push run up to the moment, has do done, and lets push go on to its end.
func (m moment) meanwhile(t *testing.T, push, do func()) {
	t.Helper()
	if err := unix.Mkfifo(m.gate, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		push()
	}()
	if gate := openGate(m.gate, ended); gate != nil {
		do()
		gate.Close()
	} else {
		t.Error("the moment has not come")
	}
	<-ended
}

// openGate waits until somebody waits at the gate, and returns nil if nobody will.
func openGate(gate string, ended <-chan struct{}) *os.File {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		f, err := os.OpenFile(gate, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			return f
		}
		select {
		case <-ended:
			return nil
		case <-ticker.C:
		}
	}
}
