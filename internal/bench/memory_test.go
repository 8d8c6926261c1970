package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The test program is bench, when it is run as the process between.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == peakCommand {
		os.Exit(peakMain(os.Args[2], os.Args[3:]))
	}
	os.Exit(m.Run())
}

// A command keeps its arguments, its streams and its exit status, and the
// memory that is noted is that of the program, and not that of this one.
func TestPeakScript(t *testing.T) {
	ballast := bytes.Repeat([]byte{1}, 200<<20)
	bin := filepath.Join(t.TempDir(), "it's a directory")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writePeakScript(bin, "command", "/bin/sh"); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, int) {
		cmd := exec.Command(filepath.Join(bin, "command"), args...)
		cmd.Stdin = strings.NewReader("in")
		cmd.Stderr = os.Stderr
		out, _ := cmd.Output()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, status := run("-c", `echo "$0 $1"; cat; exit 7`, "a  b", "$c"); out != "a  b $c\nin" || status != 7 {
		t.Errorf("%q, exit status %d", out, status)
	}
	small, err := peakOf(receiverPeak(bin))
	if err != nil || small == 0 || small > 100<<20 {
		t.Errorf("%d bytes, %v; of this program, %d are ballast", small, err, len(ballast))
	}
	if _, status := run("-c", "kill -9 $$"); status != 125 {
		t.Errorf("exit status %d after a signal", status)
	}

	// dd takes its block size. The most of all runs counts, whichever it was.
	run("-c", "exec dd if=/dev/zero of=/dev/null bs=100M count=1 status=none")
	run("-c", "true")
	large, err := peakOf(receiverPeak(bin))
	if err != nil || large < 100<<20 || large > 190<<20 {
		t.Errorf("%d bytes, %v", large, err)
	}
}
