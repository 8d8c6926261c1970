// Package client0 is a client of protocol 0, for tests: what `ostree-push` was
// before 2022, and, when asked, one that does not keep to the protocol.
package client0

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"ostree-push/ostree"
)

// The commands of messages.
const (
	Info      = 0 // of the receiver, at once: mode i, refs a{ss}
	Update    = 1 // per ref (ss): the commit it has, and will have
	PutObject = 2 // object s, size t; the object follows
	Status    = 3 // of the receiver, after Update and each PutObject: result b, message s
	Done      = 4
)

// maxArgs is the size, in bytes, of the longest arguments.
const maxArgs = 1<<16 - 1

// Message is what both sides send. In front of the arguments, an a{sv}, are 5
// bytes: the byte order of all that follows ('l' little, 'B' big), the version,
// the command, and the size of the arguments in two bytes.
type Message struct {
	Order            binary.ByteOrder
	Version, Command byte
	Args             ostree.Vardict
}

func (m Message) String() string {
	names := []string{"info", "update", "putobject", "status", "done"}
	name := fmt.Sprintf("command %d", m.Command)
	if int(m.Command) < len(names) {
		name = names[m.Command]
	}
	return fmt.Sprintf("%s %v (%v, version %d)", name, map[string]any(m.Args), m.Order, m.Version)
}

// ReadMessage reads one message. At the end of r, before a message, the error
// is io.EOF; in the middle of one it is io.ErrUnexpectedEOF. A version other than
// 0 is an error.
func ReadMessage(r io.Reader) (Message, error) {
	var header [5]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return Message{}, err
	}
	m := Message{Version: header[1], Command: header[2]}
	switch header[0] {
	case 'l':
		m.Order = binary.LittleEndian
	case 'B':
		m.Order = binary.BigEndian
	default:
		return Message{}, fmt.Errorf("message has the byte order %q", header[0])
	}
	if m.Version != 0 {
		return Message{}, fmt.Errorf("message has the version %d", m.Version)
	}
	body := make([]byte, m.Order.Uint16(header[3:]))
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Message{}, err
	}
	args, err := ostree.DecodeVardict(body, m.Order, maxArgs)
	if err != nil {
		return Message{}, fmt.Errorf("message with command %d: %w", m.Command, err)
	}
	m.Args = args
	return m, nil
}

// WriteMessage writes a message in one piece. It is an error if the arguments
// cannot be encoded.
func WriteMessage(w io.Writer, m Message) error {
	body, err := m.Args.Encode(m.Order, maxArgs)
	if err != nil {
		return err
	}
	letter := byte('l')
	if m.Order == binary.BigEndian {
		letter = 'B'
	}
	data := []byte{letter, m.Version, m.Command, 0, 0}
	m.Order.PutUint16(data[3:], uint16(len(body)))
	_, err = w.Write(append(data, body...))
	return err
}
