package receive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/ostree"
)

// zeroCommand is what a message of protocol 0 is about.
type zeroCommand byte

const (
	zeroInfo       zeroCommand = iota // receiver: mode i, refs a{ss}
	zeroUpdateRefs                    // client: for each ref (ss), old and new commit
	zeroPutObject                     // client: object s, size t; then the bytes
	zeroStatus                        // receiver: result b, message s
	zeroDone                          // client
)

// zeroHeader begins a message: byte order ('l' or 'B'), version (0), command, and
// the length of what follows, an a{sv}, 16 bits; all in that byte order.
const zeroHeader = 5

// zeroOrders are the byte orders by their letter.
var zeroOrders = map[byte]binary.ByteOrder{'l': binary.LittleEndian, 'B': binary.BigEndian}

// zeroWire is the connection to a client.
type zeroWire struct {
	ctx     context.Context
	in      *os.File
	out     io.Writer
	timeout time.Duration

	// The client has sent so many bytes since then.
	bytes int
	since time.Time
}

func newZeroWire(ctx context.Context, in *os.File, out io.Writer, timeout time.Duration) *zeroWire {
	return &zeroWire{ctx: ctx, in: in, out: out, timeout: timeout}
}

var (
	errClientGone   = errors.New("the client has gone")
	errClientStalls = errors.New("the client does not send any more")
)

// Read reads from the client, which has to send at least stallBytes in each
// timeout, or all that it has to say.
func (w *zeroWire) Read(p []byte) (int, error) {
	fds := []unix.PollFd{{Fd: int32(w.in.Fd()), Events: unix.POLLIN}}
	const slice = 200 * time.Millisecond // in which the end of the context is noticed
	for {
		if err := w.ctx.Err(); err != nil {
			return 0, context.Cause(w.ctx)
		}
		n, err := unix.Poll(fds, int(slice/time.Millisecond))
		if n > 0 {
			break
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, os.NewSyscallError("poll", err)
		}
		if time.Since(w.since) > w.timeout {
			return 0, errClientStalls
		}
	}
	n, err := w.in.Read(p)
	if w.bytes += n; w.bytes >= stallBytes {
		w.since, w.bytes = time.Now(), 0
	}
	if time.Since(w.since) > w.timeout {
		return 0, errClientStalls
	}
	return n, err
}

// expect begins the time that the client has for what comes next.
func (w *zeroWire) expect() { w.since, w.bytes = time.Now(), 0 }

// read reads a message.
func (w *zeroWire) read() (zeroCommand, ostree.Vardict, error) {
	w.expect()
	var header [zeroHeader]byte
	_, err := io.ReadFull(w, header[:])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, nil, errClientGone
	}
	if err != nil {
		return 0, nil, err
	}
	order, ok := zeroOrders[header[0]]
	if !ok || header[1] != 0 {
		return 0, nil, fmt.Errorf("what the client sends is not protocol 0: %q", header[:])
	}
	body := make([]byte, order.Uint16(header[3:]))
	if _, err := io.ReadFull(w, body); err != nil {
		return 0, nil, errClientGone
	}
	args, err := ostree.DecodeVardict(body, order)
	if err != nil {
		return 0, nil, fmt.Errorf("message of the client: %w", err)
	}
	w.expect()
	return zeroCommand(header[2]), args, nil
}

// write sends a message, in the byte order that most clients have.
func (w *zeroWire) write(command zeroCommand, args ostree.Vardict) error {
	order := binary.LittleEndian
	body, err := args.Encode(order)
	if err != nil {
		return err
	}
	if len(body) > 0xffff {
		return fmt.Errorf("%d bytes are more than a message of protocol 0 can have: use a newer client", len(body))
	}
	message := []byte{'l', 0, byte(command), 0, 0}
	order.PutUint16(message[3:], uint16(len(body)))
	if _, err := w.out.Write(append(message, body...)); err != nil {
		return fmt.Errorf("answer the client: %w", err)
	}
	return nil
}

// reply answers an update or an object.
func (w *zeroWire) reply(result bool, message string) error {
	const most = 10000
	if len(message) > most {
		message = message[:most]
	}
	return w.write(zeroStatus, ostree.Vardict{"result": result, "message": printable(message)})
}
