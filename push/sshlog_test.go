package push

import (
	"io"
	"testing"

	"ostree-push/report"
)

// What ssh of several versions says of a connection that the server closes, and of others that it does not.
func TestClosedEarly(t *testing.T) {
	const function = "kex.c:kex_exchange_identification():1383 "
	for name, test := range map[string]struct {
		lines []string
		early bool
	}{
		"Debian 12, closed": {[]string{"kex_exchange_identification: Connection closed by remote host", "Connection closed by 127.0.0.1 port 22"}, true},
		"Debian 12, reset":  {[]string{"kex_exchange_identification: read: Connection reset by peer", "Connection reset by 127.0.0.1 port 22"}, true},
		"reset at once":     {[]string{"Connection reset by 127.0.0.1 port 22"}, true},
		"Debian 13, closed": {[]string{"debug1: " + function + "(bin=ssh, pid=7): Local version string SSH-2.0-OpenSSH_10.0p2",
			function + "(bin=ssh, pid=7): Connection closed by remote host", "Connection closed by 127.0.0.1 port 22"}, true},
		"Debian 13, reset": {[]string{function + "(bin=ssh, pid=7): read: Connection reset by peer", "Connection reset by ::1 port 22"}, true},
		"Debian 13, not written": {[]string{"debug1: " + function + "(bin=ssh, pid=7): write: Broken pipe",
			"Connection closed by 127.0.0.1 port 22"}, true},
		"later": {[]string{"debug1: " + function + "(bin=ssh, pid=7): Remote protocol version 2.0, remote software version closed",
			"Connection closed by 127.0.0.1 port 22"}, false},
		"by a proxy":  {[]string{"kex_exchange_identification: Connection closed by remote host", "Connection closed by UNKNOWN port 65535"}, false},
		"another end": {[]string{"Permission denied (publickey)."}, false},
	} {
		l := &sshLog{text: report.NewText(io.Discard, "", report.Error)}
		for _, line := range test.lines {
			l.line(line)
		}
		if early := l.early && l.direct; early != test.early {
			t.Errorf("%s: early is %v", name, early)
		}
	}
}
