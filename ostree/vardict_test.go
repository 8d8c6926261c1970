package ostree_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"math"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ostree-push/ostree"
)

// maxArgs is the limit that protocol 0 has.
const maxArgs = 1<<16 - 1

var orders = []binary.ByteOrder{binary.LittleEndian, binary.BigEndian}

// As GLib's Python binding serialises and swaps it.
var knownVardict = ostree.Vardict{
	"flag":   true,
	"mode":   int32(0x01020304),
	"refs":   map[string]string{"main": "m", "zwei": "z"},
	"size":   uint64(0x0102030405060708),
	"text":   "ä",
	"update": [2]string{"old", "new"},
}

var knownBytes = map[binary.ByteOrder]string{
	binary.LittleEndian: "" +
		"666c6167000000000100620500000000" +
		"6d6f6465000000000403020100690500" +
		"72656673000000006d61696e006d0005" +
		"7a776569007a0005081000617b73737d" +
		"050000000000000073697a6500000000" +
		"08070605040302010074050000000000" +
		"7465787400000000c3a4000073050000" +
		"75706461746500006f6c64006e657700" +
		"040028737329070c1f415b6e87",
	binary.BigEndian: "" +
		"666c6167000000000100620500000000" +
		"6d6f6465000000000102030400690500" +
		"72656673000000006d61696e006d0005" +
		"7a776569007a0005081000617b73737d" +
		"050000000000000073697a6500000000" +
		"01020304050607080074050000000000" +
		"7465787400000000c3a4000073050000" +
		"75706461746500006f6c64006e657700" +
		"040028737329070c1f415b6e87",
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	data, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestVardictBytes(t *testing.T) {
	for _, order := range orders {
		want := unhex(t, knownBytes[order])
		data, err := knownVardict.Encode(order, maxArgs)
		if err != nil || !bytes.Equal(data, want) {
			t.Errorf("%v: encoded\n%x, %v, want\n%x", order, data, err, want)
		}
		v, err := ostree.DecodeVardict(want, order, maxArgs)
		if err != nil || !reflect.DeepEqual(v, knownVardict) {
			t.Errorf("%v: decoded %v, %v", order, v, err)
		}
	}
}

func TestVardictRoundTrip(t *testing.T) {
	many := map[string]string{}
	for i := range 500 {
		many[strings.Repeat("r", i%90)+string(rune('a'+i%26))+strings.Repeat("x", i/26)] = strings.Repeat("0", 64)
	}
	for _, v := range []ostree.Vardict{
		{},
		{"": ""},
		{"i": int32(math.MinInt32), "j": int32(math.MaxInt32), "k": int32(-2)},
		{"t": uint64(math.MaxUint64), "u": uint64(1)},
		{"b": true, "c": false},
		{"s": "text", "t": "", "u": strings.Repeat("€", 20000)},
		{"p": [2]string{"", ""}, "q": [2]string{strings.Repeat("0", 64), "new"}},
		{"m": map[string]string{}, "n": map[string]string{"": ""}, "o": many},
	} {
		for _, order := range orders {
			data, err := v.Encode(order, maxArgs)
			if err != nil {
				t.Errorf("%v: %.100v: %v", order, v, err)
				continue
			}
			got, err := ostree.DecodeVardict(data, order, maxArgs)
			if err != nil || !reflect.DeepEqual(got, v) {
				t.Errorf("%v: %.100v comes back as %.100v, %v", order, v, got, err)
			}
			// GVariant wants its data aligned, and we may not have that.
			moved := append([]byte("_"), data...)[1:]
			got, err = ostree.DecodeVardict(moved, order, maxArgs)
			if err != nil || !reflect.DeepEqual(got, v) {
				t.Errorf("%v: %.100v, moved, comes back as %.100v, %v", order, v, got, err)
			}
		}
	}
}

func TestVardictEncodeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		v    ostree.Vardict
		want string
	}{
		"type":        {ostree.Vardict{"n": 1}, `argument "n" is a int, which no argument is`},
		"nil":         {ostree.Vardict{"n": nil}, `argument "n" is a <nil>, which no argument is`},
		"UTF-8":       {ostree.Vardict{"s": "\xff"}, `argument "s" is not text`},
		"zero":        {ostree.Vardict{"s": "a\x00b"}, `argument "s" is not text`},
		"key":         {ostree.Vardict{"\xff": true}, `argument "\xff" is not text`},
		"pair":        {ostree.Vardict{"p": [2]string{"", "\xff"}}, `argument "p" is not text`},
		"map's key":   {ostree.Vardict{"m": map[string]string{"\xff": ""}}, `argument "m" is not text`},
		"map's value": {ostree.Vardict{"m": map[string]string{"": "\x00"}}, `argument "m" is not text`},
		"size":        {ostree.Vardict{"s": strings.Repeat("x", 1<<16)}, "65555 bytes of arguments are more than 65535"},
	} {
		for _, order := range orders {
			if data, err := c.v.Encode(order, maxArgs); err == nil || err.Error() != c.want {
				t.Errorf("%s: %.20x, %v, want %q", name, data, err, c.want)
			}
		}
	}
}

// The caller's limit is the last length that is taken, both ways.
func TestVardictLimit(t *testing.T) {
	data := unhex(t, knownBytes[binary.LittleEndian])
	for limit, taken := range map[int]bool{len(data): true, len(data) - 1: false, 0: false} {
		if _, err := ostree.DecodeVardict(data, binary.LittleEndian, limit); (err == nil) != taken {
			t.Errorf("decode %d bytes, limit %d: %v", len(data), limit, err)
		}
		if _, err := knownVardict.Encode(binary.LittleEndian, limit); (err == nil) != taken {
			t.Errorf("encode %d bytes, limit %d: %v", len(data), limit, err)
		}
	}
}

func TestVardictDecodeRefuses(t *testing.T) {
	// A variant in a variant, and so on, around a byte.
	nested := func(depth int) string { return "6b00000000000000" + "010079" + strings.Repeat("0076", depth) }
	const notValid, noType = "arguments are not a valid a{sv}", `argument "k" is of a type that no argument has`
	for name, c := range map[string]struct{ hex, want string }{
		// Serialised by GLib's Python binding.
		"key twice":       {"6b0000000000000078000073020000006b0000000000000078000073020d1d", `argument "k" is there twice`},
		"map's key twice": {"6d000000000000006b007800026b00780002050a00617b73737d021b", `argument "m" has a key twice`},
		"u":               {"6b00000000000000010000000075020f", noType},
		"y":               {"6b00000000000000010079020c", noType},
		"d":               {"6b00000000000000000000000000f83f00640213", noType},
		"v":               {"6b0000000000000001000000006900760211", noType},
		"as":              {"6b00000000000000610002006173020f", noType},
		"ay":              {"6b000000000000006162006179020e", noType},
		"a()":             {"6b00000000000000000000612829020f", noType},
		"a{sv}":           {"6b000000000000007800000000000000010000000069020f00617b73767d021f", noType},
		"(sss)":           {"6b0000000000000061006200630004020028737373290217", noType},
		"(si)":            {"6b0000000000000061000000010000000200287369290217", noType},
		"o":               {"6b000000000000002f6100006f020e", noType},
		"g":               {"6b0000000000000069000067020d", noType},
		// And changed by hand.
		"boolean 2":         {"6b0000000000000002" + "0062020c", notValid},
		"no UTF-8":          {"6b00000000000000ff000073020d", notValid},
		"no UTF-8 in key":   {"ff0000000000000078000073020d", notValid},
		"no zero":           {"6b000000000000007878" + "0073020d", notValid},
		"padding":           {"6b00000000000100780000" + "73020d", notValid},
		"not a type":        {"6b00000000000000780000" + "7a020d", notValid},
		"no single type":    {"6b0000000000000078000073" + "73020e", notValid},
		"offset beyond":     {"6b0000000000000078000073" + "02ff", notValid},
		"key's end beyond":  {"6b0000000000000078000073" + "ff0d", notValid},
		"one byte":          {"00", notValid},
		"zeros":             {strings.Repeat("00", 100), notValid},
		"ones":              {strings.Repeat("ff", 100), notValid},
		"variants, 50 deep": {nested(50) + "0270", noType},
		"too deep":          {nested(1000) + "0200dd07", notValid},
		"size":              {strings.Repeat("00", 1<<16), "65536 bytes of arguments are more than 65535"},
	} {
		for _, order := range orders {
			if v, err := ostree.DecodeVardict(unhex(t, c.hex), order, maxArgs); err == nil || err.Error() != c.want {
				t.Errorf("%s: %v, %v, want %q", name, v, err, c.want)
			}
		}
	}

	long := ostree.Vardict{strings.Repeat("\n", 1000): int32(1)}
	data, err := long.Encode(binary.LittleEndian, maxArgs)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, []byte("\x00i"), []byte("\x00u"), 1)
	if _, err := ostree.DecodeVardict(data, binary.LittleEndian, maxArgs); err == nil || !strings.Contains(err.Error(), "of a type") || len(err.Error()) > 300 {
		t.Errorf("a long key: %v", err)
	}
}

// TestVardictTruncated cuts a message everywhere. Some of what is left may be
// valid, but none of it is what it was.
func TestVardictTruncated(t *testing.T) {
	for _, order := range orders {
		data := unhex(t, knownBytes[order])
		for n := range data {
			if v, err := ostree.DecodeVardict(data[:n], order, maxArgs); err == nil && n > 0 {
				t.Errorf("%v: %d of %d bytes: %v", order, n, len(data), v)
			}
		}
	}
}

func TestVardictLeaks(t *testing.T) {
	if inOwnProcess(t) {
		return
	}
	large := maps.Clone(knownVardict)
	large["large"] = largeText[:20000]
	large["pair"] = [2]string{largeText[:10000], largeText[:5000]}
	large["map"] = map[string]string{largeText[:5000]: largeText[:10000]}
	bad := maps.Clone(large)
	bad["bad"] = "\xff"
	round := func() {
		for _, order := range orders {
			data, err := large.Encode(order, maxArgs)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ostree.DecodeVardict(data, order, maxArgs); err != nil {
				t.Fatal(err)
			}
			if _, err := ostree.DecodeVardict(data[:len(data)/2], order, maxArgs); err == nil {
				t.Fatal("half a message is decoded")
			}
			if _, err := bad.Encode(order, maxArgs); err == nil {
				t.Fatal("what is not text is encoded")
			}
			if _, err := ostree.DecodeVardict(bytes.Replace(data, []byte("(ss)"), []byte("(sy)"), 1), order, maxArgs); err == nil {
				t.Fatal("an (sy) is decoded")
			}
		}
	}
	l := leakTest{server: httptest.NewServer(nil)} // usage asks for one
	defer l.server.Close()
	const rounds, noise = 3000, 4 << 20
	for range rounds / 10 {
		round()
	}
	before := l.usage(t)
	for range rounds {
		round()
	}
	after := l.usage(t)
	t.Logf("before %v, after %v", before, after)
	if after.memory > before.memory+noise && !instrumented() {
		t.Errorf("memory grew by %d KiB", (after.memory-before.memory)>>10)
	}
}

// FuzzVardict decodes anything. What can be decoded is the same when it has been
// encoded, and encoded the same each time.
func FuzzVardict(f *testing.F) {
	for _, order := range orders {
		f.Add(unhex(f, knownBytes[order]), order == binary.BigEndian)
	}
	for _, key := range slices.Sorted(maps.Keys(knownVardict)) {
		data, err := ostree.Vardict{key: knownVardict[key]}.Encode(binary.LittleEndian, maxArgs)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, false)
	}
	f.Add([]byte{}, false)
	f.Add(unhex(f, "6b0000000000000001000000006900760211"), false)
	f.Fuzz(func(t *testing.T, data []byte, big bool) {
		var order, other binary.ByteOrder = binary.LittleEndian, binary.BigEndian
		if big {
			order, other = other, order
		}
		v, err := ostree.DecodeVardict(data, order, maxArgs)
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			return
		}
		for _, order := range []binary.ByteOrder{order, other} {
			again, err := v.Encode(order, maxArgs)
			if err != nil {
				t.Fatal(err)
			}
			w, err := ostree.DecodeVardict(again, order, maxArgs)
			if err != nil || !reflect.DeepEqual(v, w) {
				t.Fatalf("%v becomes %v, %v", v, w, err)
			}
			twice, err := w.Encode(order, maxArgs)
			if err != nil || !bytes.Equal(again, twice) {
				t.Fatalf("%x, then %x, %v", again, twice, err)
			}
		}
	})
}
