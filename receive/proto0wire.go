package receive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"ostree-push/internal/patience"
	"ostree-push/ostree"
	"ostree-push/report"
)

// proto0Command is what a message of protocol 0 is about.
type proto0Command byte

const (
	proto0Info       proto0Command = iota // receiver: mode i, refs a{ss}
	proto0UpdateRefs                      // client: for each ref (ss), old and new commit
	proto0PutObject                       // client: object s, size t; then the bytes
	proto0Status                          // receiver: result b, message s
	proto0Done                            // client
)

// proto0Header begins a message: byte order ('l' or 'B'), version (0), command, and
// the length of what follows, an a{sv}, 16 bits; all in that byte order.
const proto0Header = 5

// proto0MaxArgs is the size, in bytes, of the longest arguments: a header has 16 bits for it.
const proto0MaxArgs = 1<<16 - 1

// proto0Orders are the byte orders by their letter.
var proto0Orders = map[byte]binary.ByteOrder{'l': binary.LittleEndian, 'B': binary.BigEndian}

// proto0Wire is the connection to a client.
type proto0Wire struct {
	*patience.Reader
	out io.Writer
}

func newProto0Wire(ctx context.Context, in *os.File, out io.Writer, timeout time.Duration) *proto0Wire {
	return &proto0Wire{patience.NewReader(ctx, in, timeout), out}
}

var errClientGone = errors.New("the client has gone")

// read reads a message.
func (w *proto0Wire) read() (proto0Command, ostree.Vardict, error) {
	w.Expect()
	var header [proto0Header]byte
	_, err := io.ReadFull(w, header[:])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, nil, errClientGone
	}
	if err != nil {
		return 0, nil, err
	}
	order, ok := proto0Orders[header[0]]
	if !ok || header[1] != 0 {
		return 0, nil, fmt.Errorf("what the client sends is not protocol 0: %q", header[:])
	}
	body := make([]byte, order.Uint16(header[3:]))
	if _, err := io.ReadFull(w, body); err != nil {
		return 0, nil, errClientGone
	}
	args, err := ostree.DecodeVardict(body, order, proto0MaxArgs)
	if err != nil {
		return 0, nil, fmt.Errorf("message of the client: %w", err)
	}
	w.Expect()
	return proto0Command(header[2]), args, nil
}

// write sends a message, in the byte order that most clients have.
func (w *proto0Wire) write(command proto0Command, args ostree.Vardict) error {
	order := binary.LittleEndian
	body, err := args.Encode(order, proto0MaxArgs)
	if err != nil {
		return err
	}
	message := []byte{'l', 0, byte(command), 0, 0}
	order.PutUint16(message[3:], uint16(len(body)))
	if _, err := w.out.Write(append(message, body...)); err != nil {
		return fmt.Errorf("answer the client: %w", err)
	}
	return nil
}

// reply answers an update or an object.
func (w *proto0Wire) reply(result bool, message string) error {
	const most = 10000
	return w.write(proto0Status, ostree.Vardict{"result": result, "message": report.Printable(report.Shortened(message, most))})
}
