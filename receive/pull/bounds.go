package pull

import (
	"io"
)

// boundError says that somebody sends too much.
type boundError struct{ err error }

func (e *boundError) Error() string { return e.err.Error() }

// boundedReader fails with err after left bytes.
type boundedReader struct {
	r    io.Reader
	left int64
	err  error
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return 0, &boundError{b.err}
	}
	return n, err
}
