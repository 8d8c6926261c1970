package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Whatever a pusher calls things, a line is a line, and reads as what it was.
func TestLine(t *testing.T) {
	e := NewEntry()
	e.Repository = "a\n{\"verdict\":\"accepted\"}\r\x1b[2J\u009b\u2028\U0001f600é\x7f"
	e.Asked = []string{"ref\"\\"}
	e.Finish(errors.New("no\n"))
	line, err := e.line(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range line[:len(line)-1] {
		if b < ' ' || b >= 0x7f {
			t.Errorf("there is a %#x in %s", b, line)
		}
	}
	if line[len(line)-1] != '\n' {
		t.Errorf("%q does not end", line)
	}
	var got Entry
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*e, got); diff != "" {
		t.Error(diff)
	}
	if got.Verdict != Refused {
		t.Errorf("the verdict is %s", got.Verdict)
	}
}

func TestVerdict(t *testing.T) {
	failed := errors.New("failed")
	for _, test := range []struct {
		refs   []Ref
		dryRun bool
		err    error
		want   Verdict
	}{
		{nil, false, nil, Unchanged},
		{nil, false, failed, Refused},
		{[]Ref{{Ref: "a", Old: "1", New: "1"}}, false, nil, Unchanged},
		{[]Ref{{Ref: "a", Old: "1", New: "1"}, {Ref: "b", New: "2"}}, false, nil, Accepted},
		{[]Ref{{Ref: "b", New: "2"}}, false, failed, Accepted},
		{[]Ref{{Ref: "b", New: "2"}}, true, nil, Unchanged},
	} {
		e := Entry{Refs: test.refs, DryRun: test.dryRun}
		if e.Finish(test.err); e.Verdict != test.want {
			t.Errorf("%+v: %s", test, e.Verdict)
		}
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for i := range 3 {
		log, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Write(&Entry{Repository: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
		log.Close()
	}
	content, err := os.ReadFile(path)
	if err != nil || strings.Count(string(content), "\n") != 3 || !strings.Contains(string(content), `"repository":"2"`) {
		t.Errorf("%s, %v", content, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if log, err := Open(filepath.Join(path, "below")); err == nil {
		log.Close()
		t.Error("a file is no directory")
	}
	if _, err := os.Stat("/dev/full"); err == nil {
		log, err := Open("/dev/full")
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Write(&Entry{}); err == nil {
			t.Error("nobody minds that the line is lost")
		}
		log.Close()
	}
	none, err := Open("")
	if err != nil || none.Write(&Entry{}) != nil {
		t.Errorf("no log: %v", err)
	}
	none.Close()
}

// What syslog would cut is left out, and counted.
func TestSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	log, err := openSyslog("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	e := &Entry{Repository: strings.Repeat("r", 20000), Error: "why"}
	for i := range 1000 {
		e.Refs = append(e.Refs, Ref{Ref: fmt.Sprint("ref", i), Verdict: "updated"})
		e.Asked = append(e.Asked, fmt.Sprint("ref", i))
	}
	if err := log.Write(e); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 1<<16)
	socket.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := socket.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	header, body, _ := strings.Cut(string(buffer[:n]), "{")
	var got Entry
	if err := json.Unmarshal([]byte("{"+body), &got); err != nil {
		t.Fatal(err)
	}
	if n > maxSyslog+200 || got.Omitted+len(got.Refs) != 1000 || got.Error != "why" || !strings.Contains(header, "ostree-receive") {
		t.Errorf("%d bytes, %d refs and %d omitted, error %q, after %q", n, len(got.Refs), got.Omitted, got.Error, header)
	}
	if log, err := openSyslog("unixgram", path+"-nowhere"); err == nil {
		log.Close()
		t.Error("there is no syslog")
	}
}

func TestFingerprints(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth")
	// What ssh-keygen -l says.
	const fingerprintOfKey = "SHA256:27ZF0vN0x3tHBiRva+DsmJXjhGK/TCuOlwKTbhaK4vQ"
	const key = "AAAAC3NzaC1lZDI1NTE5AAAAIHAyGJ0MHl0q9ZkqEvw1m0yYYfjkQDZb0v5RFjFzSx2c"
	if err := os.WriteFile(file, []byte("publickey ssh-ed25519 "+key+"\npassword\nx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := fingerprints(file); got != fingerprintOfKey {
		t.Errorf("%q", got)
	}
	for _, none := range []string{"", file + "-nowhere", "/dev/null"} {
		if got := fingerprints(none); got != "" {
			t.Errorf("%s: %q", none, got)
		}
	}
}
