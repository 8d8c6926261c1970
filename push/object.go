package push

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"

	"ostree-push/ostree"
	"ostree-push/stream"
)

// send sends an object, and returns its size.
func (s *streamPush) send(ctx context.Context, conn *stream.Conn, e ostree.ObjectName) (int64, error) {
	f, size, err := s.openObject(ctx, e)
	if err != nil {
		return 0, fmt.Errorf("local repository: object %s: %w", e.Sum, err)
	}
	defer f.Close()
	return size, conn.SendObject(stream.Object{ObjectName: e, Size: size}, f)
}

// size returns the size of an object that is stored in the form in which it is
// sent.
func (s *streamPush) size(e ostree.ObjectName) (int64, bool) {
	if e.Type == ostree.ObjectFile && s.src.repo.Mode() != ostree.ModeArchive {
		return 0, false
	}
	f, size, err := s.openObject(context.Background(), e)
	if err != nil {
		return 0, false // whoever sends it says why
	}
	f.Close()
	return size, true
}

// openObject opens an object in the form that archive repositories have it in.
func (s *streamPush) openObject(ctx context.Context, e ostree.ObjectName) (*os.File, int64, error) {
	if e.Type != ostree.ObjectFile || s.src.repo.Mode() == ostree.ModeArchive {
		f, err := s.src.open(ostree.ArchivePath(e.Type, e.Sum))
		if err != nil {
			return nil, 0, err
		}
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = fs.ErrInvalid
		}
		if err != nil {
			f.Close()
			return nil, 0, err
		}
		return f, info.Size(), nil
	}
	return s.compress(ctx, e.Sum)
}

// compress brings a content object of another mode into that form. Its size has
// to be known before it is sent.
func (s *streamPush) compress(ctx context.Context, sum ostree.Checksum) (_ *os.File, _ int64, err error) {
	content, err := s.src.repo.OpenContent(ctx, sum)
	if err != nil {
		return nil, 0, err
	}
	defer content.Close()
	f, err := os.CreateTemp("", "ostree-push-object-")
	if err != nil {
		return nil, 0, err
	}
	os.Remove(f.Name())
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	size, err := io.Copy(f, content)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	return f, size, err
}
