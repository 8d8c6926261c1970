package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ostree-push/internal/link"
	"ostree-push/internal/sshd"
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

// A pusher is killed with its ssh when so much has passed, and its session ends by itself. (How much of
// that it had read by then is up to sshd.)
func TestKill(t *testing.T) {
	c := &contender{name: "cat"}
	var err error
	if c.server, err = sshd.Start(sshd.Config{Dir: t.TempDir()}); err != nil {
		t.Skip(err)
	}
	defer c.server.Stop()
	target := net.JoinHostPort(c.server.Host(), strconv.Itoa(c.server.Port()))
	proxy, err := link.Link{RTT: 20 * time.Millisecond, Rate: 100e6}.Proxy(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	file := filepath.Join(t.TempDir(), "arrived")
	options := append(c.server.ClientOptionsVia(proxy.Addr.Port), c.server.User()+"@"+c.server.Host(), "cat >"+file)
	push := func(bytes int64) (int64, error) {
		const script = `n=$1; shift; head -c $n /dev/zero | "$@"`
		args := append([]string{"sh", "-c", script, "sh", strconv.FormatInt(bytes, 10), "ssh"}, options...)
		return c.kill(t.Context(), time.Minute, args, proxy, 2e6)
	}

	arrived, err := push(1e9)
	if err != nil || arrived < 2e6 || arrived > 4e6 {
		t.Errorf("%d bytes, %v", arrived, err)
	}
	if err := c.server.WaitSessions(time.Minute); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 20e6 {
		t.Errorf("%d bytes are where they went to", info.Size())
	}

	proxy.Close()
	if proxy, err = (link.Link{}).Proxy(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	options = append(c.server.ClientOptionsVia(proxy.Addr.Port), c.server.User()+"@"+c.server.Host(), "cat >"+file)
	if _, err := push(1e6); err == nil || !strings.HasPrefix(err.Error(), "it has ended before 2000000 bytes had passed") {
		t.Errorf("a push that ends earlier: %v", err)
	}
}

func writeScript(t *testing.T, file, script string) {
	t.Helper()
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}
