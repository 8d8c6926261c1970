package ostree_test

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"ostree-push/ostree"
)

// object is a file of an archive repository.
type object struct {
	t    ostree.ObjectType
	sum  ostree.Checksum
	data []byte
}

// objectsOf returns all objects of an archive repository.
func objectsOf(t *testing.T, repo string) (all []object) {
	types := map[string]ostree.ObjectType{
		".filez": ostree.ObjectFile, ".dirtree": ostree.ObjectDirTree,
		".dirmeta": ostree.ObjectDirMeta, ".commit": ostree.ObjectCommit,
	}
	err := filepath.WalkDir(filepath.Join(repo, "objects"), func(path string, d fs.DirEntry, err error) error {
		kind, ok := types[filepath.Ext(path)]
		if err != nil || !ok {
			return err
		}
		data, err := os.ReadFile(path)
		name := filepath.Base(filepath.Dir(path)) + strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		all = append(all, object{kind, checksum(t, name), data})
		return err
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("%d objects, %v", len(all), err)
	}
	return all
}

// checks are the ways to check an object. All find the same.
func (o object) checks(t *testing.T, data []byte) map[string]error {
	results := map[string]error{"CheckBytes": ostree.CheckBytes(o.t, o.sum, data)}
	if o.t == ostree.ObjectFile {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(data); err != nil {
			t.Fatal(err)
		}
		results["CheckContentFile"] = ostree.CheckContentFile(t.Context(), o.sum, f)
		results["CheckContent"] = ostree.CheckContent(t.Context(), o.sum, io.NopCloser(iotest.HalfReader(bytes.NewReader(data))))
	}
	return results
}

// rich is an archive repository with all that an object can be.
func rich(t *testing.T) string {
	dir := tree(t)
	special := filepath.Join(dir, "special")
	write(t, special, "special")
	unix.Setxattr(special, "user.test", []byte("value\x00\xff"), 0)
	if err := os.Chmod(special, 0o4755); err != nil {
		t.Fatal(err)
	}
	path := initRepo(t, "archive")
	commit(t, path, newCommit{ref: "main", dir: dir})
	return path
}

func TestCheck(t *testing.T) {
	for _, o := range objectsOf(t, rich(t)) {
		for name, err := range o.checks(t, o.data) {
			if err != nil {
				t.Errorf("%s of %v %s: %v", name, o.t, o.sum, err)
			}
		}
		other := o
		other.sum[3]++
		for name, err := range other.checks(t, o.data) {
			if err == nil || !strings.Contains(err.Error(), "corrupted") || !strings.Contains(err.Error(), o.sum.String()) {
				t.Errorf("%s of %v under another name: %v", name, o.t, err)
			}
		}
	}
}

// What libostree's own check refuses is refused.
func TestCheckDamaged(t *testing.T) {
	path := rich(t)
	repo := open(t, path)
	var refused, same int
	for _, o := range objectsOf(t, path) {
		file := filepath.Join(path, ostree.ArchivePath(o.t, o.sum))
		for at := 0; at < len(o.data); at += 1 + len(o.data)/40 {
			flipped := bytes.Clone(o.data)
			flipped[at] ^= 0x41
			for _, damaged := range [][]byte{flipped, o.data[:at]} {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				write(t, file, string(damaged))
				want := repo.CheckObject(t.Context(), o.t, o.sum)
				for name, err := range o.checks(t, damaged) {
					if want != nil && err == nil {
						t.Errorf("%s finds nothing in %v %s damaged at %d; libostree: %v", name, o.t, o.sum, at, want)
					}
				}
				if want != nil {
					refused++
				} else {
					same++
				}
			}
		}
		write(t, file, string(o.data))
	}
	if refused < 100 {
		t.Errorf("libostree refuses %d and takes %d", refused, same)
	}
}

// Small objects with any bit of them changed, any byte or all from one on missing, or something more behind them: in memory,
// the same is found as in a file, which libostree inflates as it is read.
func TestCheckEveryBit(t *testing.T) {
	objects := append(objectsOf(t, rich(t)), deflated(t)...)
	var taken, refused int
	for _, o := range objects {
		if o.t != ostree.ObjectFile || len(o.data) > 400 {
			continue
		}
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for name, damaged := range damages(o.data) {
			if err := f.Truncate(0); err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(damaged, 0); err != nil {
				t.Fatal(err)
			}
			want := ostree.CheckContentFile(t.Context(), o.sum, f)
			got := ostree.CheckBytes(o.t, o.sum, damaged)
			if (got == nil) != (want == nil) {
				t.Fatalf("%s, %s: %v; in a file: %v\n%x", o.sum, name, got, want, damaged)
			}
			if want == nil {
				taken++
			} else {
				refused++
			}
		}
	}
	// What nobody looks at is padding, and what follows the end.
	if taken < 100 || refused < 10_000 {
		t.Errorf("%d are taken, and %d are refused", taken, refused)
	}
}

// damages yields what may become of an object.
func damages(data []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for at := range data {
			for bit := range 8 {
				flipped := bytes.Clone(data)
				flipped[at] ^= 1 << bit
				if !yield(fmt.Sprintf("bit %d of byte %d", bit, at), flipped) {
					return
				}
			}
			if !yield(fmt.Sprintf("cut at %d", at), data[:at]) ||
				!yield(fmt.Sprintf("without byte %d", at), slices.Delete(bytes.Clone(data), at, at+1)) {
				return
			}
		}
		for _, more := range [][]byte{{0}, {0xff}, {1, 0, 0, 0xff, 0xff}, data} {
			if !yield(fmt.Sprintf("with %x", more), slices.Concat(data, more)) {
				return
			}
		}
	}
}

// deflated are content objects, as no libostree writes them, but as it reads them: their content is in blocks of each type
// that deflate has, in several, and in none.
func deflated(t *testing.T) (all []object) {
	text := []byte(strings.Repeat("deflate has three types of blocks; ", 3))
	for _, content := range [][]byte{nil, {7}, text, bytes.Repeat([]byte{0}, 3000)} {
		for _, level := range []int{flate.NoCompression, flate.BestSpeed, flate.BestCompression, flate.HuffmanOnly} {
			for _, pieces := range []int{1, 3} {
				var compressed bytes.Buffer
				w, err := flate.NewWriter(&compressed, level)
				if err != nil {
					t.Fatal(err)
				}
				for i := range pieces {
					w.Write(content[i*len(content)/pieces : (i+1)*len(content)/pieces])
					w.Flush()
				}
				w.Close()
				all = append(all, fileOf(0o100644, content, compressed.Bytes()))
			}
		}
	}
	for _, blocks := range [][]byte{
		{3, 0},                   // an empty block with fixed codes
		{1, 0, 0, 0xff, 0xff},    // an empty stored block
		{0, 0, 0, 0xff, 0xff, 3}, // cut short
		{2, 0, 3, 0},
		{4}, {5}, {6}, {7}, // dynamic codes that are not there, and a type that there is not
		{},
	} {
		all = append(all, fileOf(0o100644, nil, blocks))
	}
	for _, mode := range []uint32{0o100000, 0o106755, 0o104644, 0o040755, 0o300644, 0o1100644, 0o644, 0o120777} {
		all = append(all, fileOf(mode, []byte{7}, []byte{1, 1, 0, 0xfe, 0xff, 7}))
	}
	return all
}

// fileOf returns a regular file without extended attributes, by what is, and what says it has been compressed from.
func fileOf(mode uint32, content, compressed []byte) object {
	attributes := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(make([]byte, 0, 16), 10), 20)
	attributes = append(binary.BigEndian.AppendUint32(attributes, mode), 0, 0, 0, 0, 0)
	size := binary.BigEndian.AppendUint64(nil, uint64(len(content)))
	data := slices.Concat([]byte{0, 0, 0, 26, 0, 0, 0, 0}, size, attributes, []byte{25}, compressed)
	hashed := slices.Concat([]byte{0, 0, 0, 18, 0, 0, 0, 0}, attributes, []byte{17}, content)
	return object{ostree.ObjectFile, sha256.Sum256(hashed), data}
}

// The forms that fileOf makes are right: those that should be are taken.
func TestCheckDeflated(t *testing.T) {
	path := initRepo(t, "archive")
	repo := open(t, path)
	var taken int
	for _, o := range deflated(t) {
		file := filepath.Join(path, ostree.ArchivePath(o.t, o.sum))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.RemoveAll(file)); err != nil {
			t.Fatal(err)
		}
		write(t, file, string(o.data))
		want := repo.CheckObject(t.Context(), o.t, o.sum)
		for name, err := range o.checks(t, o.data) {
			if (err == nil) != (want == nil) {
				t.Errorf("%s of %x: %v; libostree: %v", name, o.data, err, want)
			}
		}
		if want == nil {
			taken++
		}
	}
	if taken < 35 {
		t.Errorf("libostree takes only %d", taken)
	}
}

// What is missing of a header is not taken from what the memory had before.
func TestCheckCutHeader(t *testing.T) {
	for _, o := range objectsOf(t, rich(t)) {
		if o.t != ostree.ObjectFile {
			continue
		}
		header := 8 + binary.BigEndian.Uint32(o.data)
		for range 50 {
			for name, err := range o.checks(t, o.data) {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			for name, err := range o.checks(t, o.data[:header-1]) {
				if err == nil {
					t.Fatalf("%s: a header that is cut short is taken", name)
				}
			}
		}
	}
}

// A content object says how large it is; it may not say less, or more.
func TestCheckSize(t *testing.T) {
	path := rich(t)
	sum := objectOf(t, path, "large")
	data, err := os.ReadFile(objectPath(path, sum, "filez"))
	if err != nil {
		t.Fatal(err)
	}
	o := object{ostree.ObjectFile, sum, data}
	for _, change := range []int64{-1, 1, 1 << 40} {
		lying := bytes.Clone(data)
		size := binary.BigEndian.Uint64(lying[8:])
		binary.BigEndian.PutUint64(lying[8:], uint64(int64(size)+change))
		for name, err := range o.checks(t, lying) {
			if err == nil {
				t.Errorf("%s: a size that is %d more is taken", name, change)
			}
		}
	}

	var bomb bytes.Buffer
	header := 8 + binary.BigEndian.Uint32(data)
	bomb.Write(data[:8])
	binary.Write(&bomb, binary.BigEndian, uint64(1))
	bomb.Write(data[16:header])
	w, _ := flate.NewWriter(&bomb, flate.BestCompression)
	io.CopyN(w, zeros{}, 64<<20)
	w.Close()
	for name, err := range o.checks(t, bomb.Bytes()) {
		if !errors.Is(err, ostree.ErrInflated) {
			t.Errorf("%s of a bomb: %v", name, err)
		}
	}

	for name, err := range o.checks(t, []byte("\x7f\xff\xff\xff\x00\x00\x00\x00")) {
		if err == nil || !strings.Contains(err.Error(), "a header of 2147483647 bytes") {
			t.Errorf("%s of an enormous header: %v", name, err)
		}
	}
	for name, err := range o.checks(t, nil) {
		if err == nil {
			t.Errorf("%s of nothing: %v", name, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Whatever there is to check, checking ends, and finds the same in both ways.
func FuzzCheck(f *testing.F) {
	f.Add(byte(ostree.ObjectFile), []byte("\x00\x00\x00\x20\x00\x00\x00\x00"))
	f.Add(byte(ostree.ObjectDirTree), []byte{0})
	f.Add(byte(ostree.ObjectDirMeta), make([]byte, 12))
	f.Add(byte(ostree.ObjectCommit), []byte("\x00\x01"))
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		o := object{t: ostree.ObjectType(kind%4 + 1), data: data}
		for name, err := range o.checks(t, data) {
			if err == nil {
				t.Errorf("%s finds that the checksum is zero", name)
			}
		}
	})
}

// Names that no client can check out are refused: the same twice, and none at all.
func TestCheckNames(t *testing.T) {
	path := initRepo(t, "archive")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "content")
	write(t, filepath.Join(dir, "b"), "content")
	repo := open(t, path)
	c := loadCommit(t, repo, commit(t, path, newCommit{ref: "main", dir: dir}))
	tree, err := repo.Metadata(ostree.ObjectDirTree, c.Tree.Contents)
	if err != nil {
		t.Fatal(err)
	}
	check := func(data []byte) error {
		return ostree.CheckBytes(ostree.ObjectDirTree, sha256.Sum256(data), data)
	}
	if err := check(tree); err != nil {
		t.Fatal(err)
	}
	twice := bytes.Replace(tree, []byte("b\x00"), []byte("a\x00"), 1)
	if err := check(twice); err == nil || !strings.Contains(err.Error(), "two entries of the name a") {
		t.Errorf("two entries of a name: %v", err)
	}
	// An a(say)a(sayay) of one file: its name, its checksum, and the ends of name, file and files.
	nameless := append(make([]byte, 1+32), 1, 1+32+1, 1+32+1+1)
	if err := check(nameless); err == nil || !strings.Contains(err.Error(), "without a name") {
		t.Errorf("an entry without a name: %v", err)
	}
}

// The error of whoever reads an object that stops to come is the error, and one that says that it has a large header is left for
// later.
func TestCheckContentComing(t *testing.T) {
	path := rich(t)
	sum := objectOf(t, path, "large")
	data, err := os.ReadFile(objectPath(path, sum, "filez"))
	if err != nil {
		t.Fatal(err)
	}
	errGone := errors.New("it has gone")
	for _, n := range []int{0, 5, 12, len(data) / 2, len(data) - 1} {
		r, w := io.Pipe()
		go func() {
			w.Write(data[:n])
			w.CloseWithError(errGone)
		}()
		if err := ostree.CheckContent(t.Context(), sum, r); !errors.Is(err, errGone) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	large := bytes.Clone(data)
	binary.BigEndian.PutUint32(large, 100<<10)
	if err := ostree.CheckContent(t.Context(), sum, io.NopCloser(bytes.NewReader(large))); !errors.Is(err, ostree.ErrLargeHeader) {
		t.Errorf("a large header: %v", err)
	}
}
