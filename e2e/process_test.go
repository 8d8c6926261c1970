package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// stop-process DURATION TEXT... stops the script's processes that match one of the TEXTs for so long.
func stopProcess(ts *testscript.TestScript, neg bool, args []string) {
	duration, err := time.ParseDuration(args[0])
	ts.Check(err)
	pids, found := matching(ts, args[1:])
	if len(pids) == 0 {
		ts.Fatalf("there is none of %q among %v", args[1:], found)
	}
	for _, pid := range pids {
		ts.Check(syscall.Kill(pid, syscall.SIGSTOP))
	}
	time.Sleep(duration)
	for _, pid := range pids {
		ts.Check(syscall.Kill(pid, syscall.SIGCONT))
	}
}

// peak is a program for scripts that runs a command, and writes how many KiB of memory
// that took at most to FILE:
//
//	peak FILE COMMAND [ARG...]
//
// The kernel tells that to whoever waits for a process, and begins with what its parent takes: that is
// this small program.
func peak() {
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err == nil || errors.As(err, &exit) {
		most := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
		err = os.WriteFile(os.Args[1], []byte(fmt.Sprint(most)), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peak:", err)
		os.Exit(126)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// peak-below KIB FILE checks what peak has written.
func peakBelow(ts *testscript.TestScript, neg bool, args []string) {
	limit, err := strconv.Atoi(args[0])
	ts.Check(err)
	most, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[1])))
	ts.Check(err)
	ts.Logf("%d KiB", most)
	if most >= limit {
		ts.Fatalf("%d KiB", most)
	}
}
