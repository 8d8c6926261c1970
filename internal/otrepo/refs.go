package otrepo

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Refs writes n refs besides one of an archive repository, such as "REF/00001", each with a commit of its own: that of the one, some
// seconds later. A program that wrote them one by one would take minutes for many.
func Refs(path, ref string, n int) error {
	heads := filepath.Join(path, "refs/heads")
	text, err := os.ReadFile(filepath.Join(heads, ref))
	if err != nil {
		return err
	}
	sum := strings.TrimSpace(string(text))
	commit, err := os.ReadFile(objectFile(path, sum))
	if err != nil {
		return err
	}
	at, err := timestampIn(commit)
	if err != nil {
		return err
	}
	first := binary.BigEndian.Uint64(commit[at:])
	if err := os.MkdirAll(filepath.Join(heads, ref+"s"), 0o755); err != nil {
		return err
	}
	for i := 1; i <= n; i++ {
		other := bytes.Clone(commit)
		binary.BigEndian.PutUint64(other[at:], first+uint64(i))
		digest := sha256.Sum256(other)
		sum := hex.EncodeToString(digest[:])
		file := objectFile(path, sum)
		err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, other, 0o644),
			os.WriteFile(filepath.Join(heads, ref+"s", fmt.Sprintf("%05d", i)), []byte(sum+"\n"), 0o644))
		if err != nil {
			return err
		}
	}
	return nil
}

func objectFile(path, sum string) string {
	return filepath.Join(path, "objects", sum[:2], sum[2:]+".commit")
}

// timestampIn returns where a commit object has its time: before its tree and its dirmeta, which are last but for the offsets of
// what has no fixed size.
func timestampIn(commit []byte) (int, error) {
	const most = 8 // offsets, of a byte or two each
	for offsets := range 2 * most {
		at := len(commit) - offsets - 2*sha256.Size - 8
		if at >= 0 && at%8 == 0 && bytes.HasPrefix(commit[at:], []byte{0, 0, 0, 0}) && commit[at+4] != 0 {
			return at, nil
		}
	}
	return 0, errors.New("a commit without a time that makes sense")
}
