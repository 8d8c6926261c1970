package otrepo

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Large makes a repository whose ref main shows a commit of one file, of so many random bytes, which are the same each time. It returns
// the checksum of the file's object.
func Large(path, mode string, size int) (sum string, err error) {
	tree, err := os.MkdirTemp("", "otrepo-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tree)
	content := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(content)
	if err := errors.Join(Init(path, mode), os.WriteFile(filepath.Join(tree, "large"), content, 0o644)); err != nil {
		return "", err
	}
	if _, err := (Commit{Ref: "main", Dir: tree, Time: time.Unix(1_700_000_000, 0)}).Write(path); err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(path, "objects/??/*.file*"))
	if err != nil || len(files) != 1 {
		return "", errors.Join(fmt.Errorf("the repository has the files %q", files), err)
	}
	rest, _, _ := strings.Cut(filepath.Base(files[0]), ".")
	return filepath.Base(filepath.Dir(files[0])) + rest, nil
}
