package quarantine

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"ostree-push/internal/ranges"
)

// note is what is known to be on the disk of an object that comes in pieces: a file beside that of the object. It begins with the form of
// the pieces, 16 bytes, and goes on with ranges: start and end of each, 8 bytes, big endian. More are appended as
// more is on the disk; what is known is all of them together. So it is true at any moment, also if the last one is cut short.
type note struct {
	p    *Pieces
	file *os.File
	done chan struct{}

	// With the lock of the object:
	ended bool // no more is to be noted
	keep  bool // but what has come by then

	noted ranges.Set // of the goroutine that writes it
}

const (
	noteExtension = ".note"
	// noteStep is how many bytes more are to have come before they are noted.
	noteStep = 2 << 20
	// rangeSize is the size of a range in a note, in bytes.
	rangeSize = 16
)

// startNote begins to note what comes of an object. Without a file for it, it is not to be resumed, and that is all.
func startNote(p *Pieces) *note {
	file, err := p.q.createFile(piecesDir + "/" + p.ObjectName.String() + noteExtension)
	if err != nil {
		return nil
	}
	if _, err := file.Write(p.form[:]); err != nil {
		file.Close()
		return nil
	}
	return keepNote(p, file, nil)
}

// keepNote goes on with a note that is in a file.
func keepNote(p *Pieces, file *os.File, noted ranges.Set) *note {
	n := &note{p: p, file: file, done: make(chan struct{}), noted: noted}
	go n.run()
	return n
}

func (n *note) run() {
	defer close(n.done)
	for {
		written, more := n.wait()
		if len(written) > 0 && n.write(written) != nil || !more {
			return
		}
	}
}

// wait waits until there is enough to note, or it is the last time.
func (n *note) wait() (written ranges.Set, more bool) {
	p := n.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for !n.ended && p.written.Len()-n.noted.Len() < noteStep {
		p.changed.Wait()
	}
	if n.ended && !n.keep {
		return nil, false
	}
	return slices.Clone(p.written), !n.ended
}

// write notes what has been written, when it is on the disk.
func (n *note) write(written ranges.Set) error {
	if !n.p.q.sync.off {
		if err := unix.Fdatasync(int(n.p.file.Fd())); err != nil {
			return err
		}
	}
	var data []byte
	for _, r := range written {
		for _, r := range n.noted.Without(r) {
			data = binary.BigEndian.AppendUint64(data, uint64(r.Start))
			data = binary.BigEndian.AppendUint64(data, uint64(r.End))
		}
	}
	n.noted = written
	_, err := n.file.Write(data)
	return err
}

// close closes a note that has ended.
func (n *note) close() {
	<-n.done
	if !n.keep {
		os.Remove(n.file.Name())
	}
	n.file.Close()
}

// readNote reads a note that somebody has left, of an object of that many bytes, and leaves the offset where more can be written.
// Ranges that cannot be are left out, and so is what is not a whole block: of what is missing, nothing is less than a piece may be.
func readNote(f *os.File, size int64) (form [16]byte, noted ranges.Set, err error) {
	if _, err := io.ReadFull(f, form[:]); err != nil {
		return form, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxNote))
	if err != nil {
		return form, nil, err
	}
	var all ranges.Set
	cut := len(data) % rangeSize
	for data = data[:len(data)-cut]; len(data) > 0; data = data[rangeSize:] {
		r := ranges.Range{Start: int64(binary.BigEndian.Uint64(data)), End: int64(binary.BigEndian.Uint64(data[8:]))}
		if 0 <= r.Start && r.Start < r.End && r.End <= size {
			all.Add(r)
		}
	}
	noted = all.Blocks()
	if len(noted) == 0 || form == [16]byte{} {
		return form, nil, errors.New("nothing is noted")
	}
	_, err = f.Seek(-int64(cut), io.SeekCurrent)
	return form, noted, err
}

// maxNote is how much of a note is read, in bytes: what there is to know of an object of a terabyte.
const maxNote = 16 << 20
