package push

import (
	"bytes"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fileWatch waits for a file to appear.
type fileWatch struct {
	done  chan error // gets nil when the file is there
	queue *os.File
}

// watchForFile waits for path, whose directory exists and which does not, to
// be made or moved there. ssh links its control socket into place once it
// listens.
func watchForFile(path string) (*fileWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	queue := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		queue.Close()
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	w := &fileWatch{done: make(chan error, 1), queue: queue}
	go func() { w.done <- waitForName(queue, filepath.Base(path)) }()
	return w, nil
}

// stop ends the wait.
func (w *fileWatch) stop() { w.queue.Close() }

func waitForName(queue *os.File, name string) error {
	buf := make([]byte, 16*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	for {
		n, err := queue.Read(buf)
		if err != nil {
			return err
		}
		for events := buf[:n]; len(events) >= unix.SizeofInotifyEvent; {
			event := (*unix.InotifyEvent)(unsafe.Pointer(&events[0]))
			end := unix.SizeofInotifyEvent + int(event.Len)
			if string(bytes.TrimRight(events[unix.SizeofInotifyEvent:end], "\x00")) == name {
				return nil
			}
			events = events[end:]
		}
	}
}
