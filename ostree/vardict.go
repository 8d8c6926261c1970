package ostree

// #include "vardict.h"
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Vardict is the arguments of a message of protocol 0, by their names: a GVariant of the type a{sv}
// (https://docs.gtk.org/glib/gvariant-specification-1.0.html), in Go memory. The values are of these
// types, and GVariant's:
//
//	int32              i
//	uint64             t
//	bool               b
//	string             s
//	[2]string          (ss)
//	map[string]string  a{ss}
type Vardict map[string]any

// DecodeVardict reads a serialised a{sv} whose numbers are in a byte order. (The order of GVariant's offsets is
// always the same.) The data need not be trusted: it is an error if there are more than limit bytes, if
// they are not in normal form, if a key is there twice, or if a value is of a type that Vardict does not have.
func DecodeVardict(data []byte, order binary.ByteOrder, limit int) (Vardict, error) {
	if err := checkLength(data, limit); err != nil {
		return nil, err
	}
	bytes, free := gbytes(data)
	defer free()
	// Which form is normal does not depend on the order of bytes in numbers, so
	// this comes first, and only then is anything looked at. Numbers are swapped
	// one by one: g_variant_byteswap would do so with values of all types.
	vardict := C.op_vardict_parse(bytes)
	if vardict == nil {
		return nil, errors.New("arguments are not a valid a{sv}")
	}
	defer C.g_variant_unref(vardict)

	// An entry takes at least a byte, so there are no more than bytes of data.
	v := Vardict{}
	for i := range C.g_variant_n_children(vardict) {
		if err := v.decodeEntry(vardict, i, order); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// checkLength returns an error if serialised arguments have more than limit bytes.
func checkLength(data []byte, limit int) error {
	if len(data) > limit {
		return fmt.Errorf("%d bytes of arguments are more than %d", len(data), limit)
	}
	return nil
}

// decodeEntry adds an entry of a GVariant.
func (v Vardict) decodeEntry(vardict *C.GVariant, i C.gsize, order binary.ByteOrder) error {
	var ckey *C.char
	value := C.op_variant_entry(vardict, i, &ckey)
	defer C.g_variant_unref(value)
	key := C.GoString(ckey)
	if _, ok := v[key]; ok {
		return argumentError(key, "is there twice")
	}
	switch C.GoString(C.g_variant_get_type_string(value)) {
	case "i":
		v[key] = int32(swap32(uint32(C.g_variant_get_int32(value)), order))
	case "t":
		v[key] = swap64(uint64(C.g_variant_get_uint64(value)), order)
	case "b":
		v[key] = C.g_variant_get_boolean(value) != 0
	case "s":
		v[key] = C.GoString(C.g_variant_get_string(value, nil))
	case "(ss)":
		var first, second *C.char
		C.op_vardict_get_pair(value, &first, &second)
		v[key] = [2]string{C.GoString(first), C.GoString(second)}
	case "a{ss}":
		m := map[string]string{}
		for j := range C.g_variant_n_children(value) {
			var name, content *C.char
			C.op_vardict_get_map_entry(value, j, &name, &content)
			m[C.GoString(name)] = C.GoString(content)
			if len(m) != int(j)+1 {
				return argumentError(key, "has a key twice")
			}
		}
		v[key] = m
	default:
		return argumentError(key, "is of a type that no argument has")
	}
	return nil
}

// Encode serialises v as an a{sv}, with numbers in a byte order. The form is normal, and sorted by key: equal
// arguments are equal bytes. It is an error if that takes more than limit bytes, if a string is not
// valid UTF-8 or has a zero byte, or if a value is of a type that Vardict does not have.
func (v Vardict) Encode(order binary.ByteOrder, limit int) ([]byte, error) {
	keys := slices.Sorted(maps.Keys(v))
	for _, key := range keys {
		if err := checkEncodable(key, v[key]); err != nil {
			return nil, err
		}
	}
	builder := C.op_vardict_new()
	for _, key := range keys {
		encodeEntry(builder, key, v[key], order)
	}
	data := takeBytes(C.op_vardict_end(builder))
	if err := checkLength(data, limit); err != nil {
		return nil, err
	}
	return data, nil
}

// checkEncodable checks what GVariant takes for granted: that strings are text.
func checkEncodable(key string, value any) error {
	texts := []string{key}
	switch value := value.(type) {
	case int32, uint64, bool:
	case string:
		texts = append(texts, value)
	case [2]string:
		texts = append(texts, value[:]...)
	case map[string]string:
		for name, content := range value {
			texts = append(texts, name, content)
		}
	default:
		return argumentError(key, fmt.Sprintf("is a %T, which no argument is", value))
	}
	for _, text := range texts {
		if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
			return argumentError(key, "is not text")
		}
	}
	return nil
}

// encodeEntry adds an entry that is encodable to a GVariant.
func encodeEntry(builder *C.GVariantBuilder, key string, value any, order binary.ByteOrder) {
	ckey, free := cstring(key)
	defer free()
	switch value := value.(type) {
	case int32:
		C.op_vardict_add(builder, ckey, C.g_variant_new_int32(C.gint32(swap32(uint32(value), order))))
	case uint64:
		C.op_vardict_add(builder, ckey, C.g_variant_new_uint64(C.guint64(swap64(value, order))))
	case bool:
		C.op_vardict_add(builder, ckey, C.g_variant_new_boolean(gboolean(value)))
	case string:
		cvalue, free := cstring(value)
		defer free()
		C.op_vardict_add(builder, ckey, C.g_variant_new_string(cvalue))
	case [2]string:
		first, freeFirst := cstring(value[0])
		defer freeFirst()
		second, freeSecond := cstring(value[1])
		defer freeSecond()
		C.op_vardict_add(builder, ckey, C.op_vardict_pair(first, second))
	case map[string]string:
		list := make([]string, 0, 2*len(value))
		for _, name := range slices.Sorted(maps.Keys(value)) {
			list = append(list, name, value[name])
		}
		clist, free := cstrv(list)
		defer free()
		C.op_vardict_add(builder, ckey, C.op_vardict_map(clist))
	}
}

// argumentError returns an error about an argument, whose name may be long.
func argumentError(key, what string) error {
	return fmt.Errorf("argument %.100q %s", key, what)
}

// swap32 turns a number from the host's byte order into another, or back.
func swap32(n uint32, order binary.ByteOrder) uint32 {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], n)
	return order.Uint32(b[:])
}

// swap64 is swap32 for 64 bits.
func swap64(n uint64, order binary.ByteOrder) uint64 {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], n)
	return order.Uint64(b[:])
}
