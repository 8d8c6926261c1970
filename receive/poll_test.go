package receive

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What watchHangup builds on: of all that output may be connected to, only that
// with a reader who has gone polls as hung up.
func TestPoll(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])

	hungUp := func(fd int) bool {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		if _, err := unix.Poll(fds, 0); err != nil {
			t.Fatal(err)
		}
		return fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
	}
	outputs := map[string]int{
		"null": int(null.Fd()), "file": int(file.Fd()), "pipe": int(write.Fd()), "socket": pair[0],
	}
	for name, fd := range outputs {
		if hungUp(fd) {
			t.Errorf("%s hangs up while it has a reader", name)
		}
	}
	read.Close()
	unix.Close(pair[1])
	for name, fd := range outputs {
		if got, want := hungUp(fd), name == "pipe" || name == "socket"; got != want {
			t.Errorf("%s without a reader: hung up %v", name, got)
		}
	}
}
