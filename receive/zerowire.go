package receive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"ostree-push/ostree"
	"ostree-push/report"
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
	*stallReader
	out io.Writer
}

func newZeroWire(ctx context.Context, in *os.File, out io.Writer, timeout time.Duration) *zeroWire {
	return &zeroWire{newStallReader(ctx, in, timeout), out}
}

var errClientGone = errors.New("the client has gone")

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
	return w.write(zeroStatus, ostree.Vardict{"result": result, "message": report.Printable(message)})
}
