package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What rsync has brought is synced on the server before it ends, and a sync that fails is its failure. For that, rsync
// has to wait for the command that it runs there.
func TestSyncScript(t *testing.T) {
	program, err := exec.LookPath(rsync)
	if err != nil {
		t.Skip(err)
	}
	bin, dir := filepath.Join(t.TempDir(), "it's a directory"), t.TempDir()
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeSyncScript(bin, program); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	writeScript(t, filepath.Join(bin, "remote-shell"), `shift; eval "exec $*"`)
	from, to, synced := filepath.Join(dir, "from"), filepath.Join(dir, "to/objects/"), filepath.Join(dir, "synced")
	if err := os.WriteFile(from, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	push := func(to string) error {
		return exec.Command(program, "-a", "--rsync-path="+rsyncSync, "-e", "remote-shell", from, "host:"+to).Run()
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}

	writeScript(t, filepath.Join(bin, "sync"), `ls "$2" >`+synced+`; echo "$1" >>`+synced)
	if err := push(to + "/"); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(synced); err != nil || string(got) != "from\n-f\n" {
		t.Errorf("synced: %q, %v", got, err)
	}
	writeScript(t, filepath.Join(bin, "sync"), "exit 1")
	if push(to+"/") == nil {
		t.Error("the sync failed, and rsync did not")
	}
	writeScript(t, filepath.Join(bin, "sync"), "touch "+filepath.Join(dir, "late"))
	if push(filepath.Join(dir, "absent/to/")) == nil {
		t.Error("rsync failed, and its command did not")
	}
	if _, err := os.Stat(filepath.Join(dir, "late")); err == nil {
		t.Error("what did not come was synced")
	}
}

func writeScript(t *testing.T, file, script string) {
	t.Helper()
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}
