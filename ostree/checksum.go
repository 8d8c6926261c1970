package ostree

import (
	"encoding/hex"
	"fmt"
)

// Checksum is the SHA-256 checksum that names an object. The zero Checksum stands for no object.
type Checksum [32]byte

// ParseChecksum reads a checksum of 64 lower-case hexadecimal digits, and nothing else.
func ParseChecksum(s string) (Checksum, error) {
	var c Checksum
	if len(s) != 2*len(c) {
		return c, fmt.Errorf("invalid checksum %q: %d characters, not %d", s, len(s), 2*len(c))
	}
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'a' || r > 'f') {
			return c, fmt.Errorf("invalid checksum %q: %q is no lower-case hexadecimal digit", s, r)
		}
	}
	_, err := hex.Decode(c[:], []byte(s))
	return c, err
}

// String returns the checksum as 64 lower-case hexadecimal digits.
func (c Checksum) String() string { return hex.EncodeToString(c[:]) }

// IsZero reports whether c is the zero Checksum.
func (c Checksum) IsZero() bool { return c == Checksum{} }
