package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/kballard/go-shellquote"
)

// How much memory a program took at most is told by the kernel to whoever waits
// for it. But that begins with what its parent takes, which still is the
// program until it has become another one. So each program is started by a small
// process, whose 10 MB are the least that can be told: bench itself, as `bench peak FILE PROGRAM [ARG...]`.

const peakCommand = "peak"

// peakMain runs a program, appends to a file how many bytes of memory it took
// at most, and returns its exit status.
func peakMain(file string, args []string) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 126
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if err := appendLine(file, strconv.FormatInt(usage.Maxrss<<10, 10)); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 126
	}
	if status := cmd.ProcessState.ExitCode(); status >= 0 {
		return status
	}
	return 125 // a signal ended it
}

func appendLine(file, line string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// peakOf returns the most memory of all programs that noted theirs in the file.
func peakOf(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var most int64
	for line := range strings.Lines(string(text)) {
		n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", file, err)
		}
		most = max(most, n)
	}
	return most, nil
}

// peakArgs returns the arguments that run a command so that its memory is noted.
func peakArgs(file string, args []string) ([]string, error) {
	self, err := os.Executable()
	return append([]string{self, peakCommand, file}, args...), err
}

// The files in which the two sides note their memory are below a contender's
// directory of commands.
func pusherPeak(bin string) string   { return filepath.Join(bin, "pusher.peak") }
func receiverPeak(bin string) string { return filepath.Join(bin, "receiver.peak") }

// writePeakScript makes a command that runs the program and notes its memory.
func writePeakScript(bin, command, program string) error {
	args, err := peakArgs(receiverPeak(bin), []string{program})
	if err != nil {
		return err
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\"\n", shellquote.Join(args...))
	return os.WriteFile(filepath.Join(bin, command), []byte(script), 0o755)
}

// notePeaks takes what the two sides have noted into a result.
func (c *contender) notePeaks(r *result) (err error) {
	if r.PusherPeak, err = peakOf(pusherPeak(c.bin)); err == nil {
		r.ReceiverPeak, err = peakOf(receiverPeak(c.bin))
	}
	return err
}
