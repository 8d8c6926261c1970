// Package ranges has sets of bytes of a file.
package ranges

import "slices"

// Range is the bytes of a file from Start to before End.
type Range struct{ Start, End int64 }

// Len returns how many bytes there are.
func (r Range) Len() int64 { return r.End - r.Start }

// Set is ranges in their order, none of which is empty or touches another one. The zero value is the empty set.
type Set []Range

// Block is the size, in bytes, of the blocks that Blocks has.
const Block = 64 << 10

// Blocks returns what of the set is whole blocks: Block bytes that begin at a multiple of that.
func (s Set) Blocks() (blocks Set) {
	for _, r := range s {
		blocks.Add(Range{(r.Start + Block - 1) / Block * Block, r.End / Block * Block})
	}
	return blocks
}

// Valid reports whether it is what a Set has to be, with nothing below 0: one that comes from elsewhere may not be.
func (s Set) Valid() bool {
	before := int64(-1)
	for _, r := range s {
		if r.Start <= before || r.Start >= r.End {
			return false
		}
		before = r.End
	}
	return true
}

// from returns the index of the first range that ends at or after a byte.
func (s Set) from(start int64) int {
	i, _ := slices.BinarySearchFunc(s, start, func(r Range, start int64) int {
		if r.End < start {
			return -1
		}
		return 1
	})
	return i
}

// Add adds a range, and takes what it touches together with it.
func (s *Set) Add(r Range) {
	if r.Start >= r.End {
		return
	}
	i := s.from(r.Start)
	j := i
	for ; j < len(*s) && (*s)[j].Start <= r.End; j++ {
		r.Start, r.End = min(r.Start, (*s)[j].Start), max(r.End, (*s)[j].End)
	}
	*s = slices.Replace(*s, i, j, r)
}

// Overlaps reports whether any byte of a range is in the set.
func (s Set) Overlaps(r Range) bool {
	for _, have := range s[s.from(r.Start):] {
		if have.Start >= r.End {
			return false
		}
		if max(have.Start, r.Start) < min(have.End, r.End) {
			return true
		}
	}
	return false
}

// Without returns what of a range is not in the set.
func (s Set) Without(r Range) (rest Set) {
	for _, have := range s[s.from(r.Start):] {
		if have.Start >= r.End {
			break
		}
		rest.Add(Range{r.Start, have.Start})
		r.Start = max(r.Start, have.End)
	}
	rest.Add(r)
	return rest
}

// Front returns how many bytes there are from the first one on without a gap.
func (s Set) Front() int64 {
	if len(s) == 0 || s[0].Start > 0 {
		return 0
	}
	return s[0].End
}

// End returns the end of the last range, 0 if there is none.
func (s Set) End() int64 {
	if len(s) == 0 {
		return 0
	}
	return s[len(s)-1].End
}

// Len returns how many bytes there are.
func (s Set) Len() (n int64) {
	for _, r := range s {
		n += r.Len()
	}
	return n
}
