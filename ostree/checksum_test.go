package ostree_test

import (
	"strings"
	"testing"

	"ostree-push/ostree"
)

func TestParseChecksum(t *testing.T) {
	const digits = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef"
	sum, err := ostree.ParseChecksum(digits)
	if err != nil || sum.String() != digits || sum[1] != 0x11 || sum[31] != 0xef {
		t.Errorf("%v, %v", sum, err)
	}
	if sum.IsZero() || !(ostree.Checksum{}).IsZero() {
		t.Error("IsZero is wrong")
	}
	for _, s := range []string{
		"",
		digits[1:],
		digits + "0",
		digits + "\n",
		digits[1:] + "\n",
		strings.ToUpper(digits),
		digits[:63] + "g",
		digits[:63] + "\x00",
		digits[:62] + "é",
		digits[:60] + "/../",
		"-" + digits[1:],
		strings.Repeat("a", 1<<20),
	} {
		if sum, err := ostree.ParseChecksum(s); err == nil {
			t.Errorf("ParseChecksum(%q) = %v", s, sum)
		}
	}
}
