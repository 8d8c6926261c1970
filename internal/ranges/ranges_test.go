package ranges

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The sets are compared with a plain array of bytes.
func TestAgainstBytes(t *testing.T) {
	const size = 40
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var set Set
		var bytes [size]bool
		for range random.IntN(12) {
			r := some(random, size)
			set.Add(r)
			for i := r.Start; i < r.End; i++ {
				bytes[i] = true
			}
			if want := setOf(bytes[:], true); !cmp.Equal(set, want) {
				t.Fatalf("with %v: %v, want %v", r, set, want)
			}
		}
		if !set.Valid() {
			t.Errorf("%v is not valid", set)
		}
		r := some(random, size)
		part := bytes[r.Start:r.End]
		if got, want := set.Overlaps(r), slices.Contains(part, true); got != want {
			t.Errorf("%v overlaps %v: %v, want %v", set, r, got, want)
		}
		rest := setOf(part, false)
		for i := range rest {
			rest[i].Start, rest[i].End = rest[i].Start+r.Start, rest[i].End+r.Start
		}
		if got := set.Without(r); !cmp.Equal(got, rest) {
			t.Errorf("%v without %v: %v, want %v", r, set, got, rest)
		}
		front := int64(slices.Index(append(bytes[:], false), false))
		if set.Front() != front {
			t.Errorf("the front of %v is %d, want %d", set, set.Front(), front)
		}
		if n := int64(len(slices.DeleteFunc(bytes[:], func(b bool) bool { return !b }))); set.Len() != n {
			t.Errorf("%v has %d bytes, want %d", set, set.Len(), n)
		}
	}
}

func some(random *rand.Rand, size int) Range {
	start := random.IntN(size)
	return Range{int64(start), int64(start + random.IntN(size-start+1))}
}

// setOf returns the bytes that are as wanted.
func setOf(bytes []bool, wanted bool) (s Set) {
	for i, b := range bytes {
		switch start := int64(i); {
		case b != wanted:
		case len(s) > 0 && s[len(s)-1].End == start:
			s[len(s)-1].End++
		default:
			s = append(s, Range{start, start + 1})
		}
	}
	return s
}

func TestBlocks(t *testing.T) {
	const b = Block
	set := Set{{0, 1}, {2, b - 1}, {b + 1, 2*b + 1}, {3 * b, 4 * b}, {5*b - 1, 7*b + 1}, {8 * b, 9*b - 1}}
	if got, want := set.Blocks(), (Set{{3 * b, 4 * b}, {5 * b, 7 * b}}); !cmp.Equal(got, want) {
		t.Errorf("the blocks of %v are %v, and not %v", set, got, want)
	}
}

func TestValid(t *testing.T) {
	for _, s := range []Set{{{-1, 3}}, {{3, 3}}, {{4, 3}}, {{0, 2}, {2, 3}}, {{0, 4}, {3, 5}}, {{5, 6}, {1, 2}}} {
		if s.Valid() {
			t.Errorf("%v is said to be valid", s)
		}
	}
	if s := (Set{{0, 1}, {2, 1 << 62}}); !s.Valid() || s.End() != 1<<62 || Set(nil).End() != 0 {
		t.Errorf("%v: valid %v, end %d", s, s.Valid(), s.End())
	}
}
