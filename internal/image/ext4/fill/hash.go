package fill

import "math/bits"

// hashHalfMD4 is the number of the only supported hash (DX_HASH_HALF_MD4).
const hashHalfMD4 = 1

// hash returns the hash of a name in a directory's index (ext4fs_dirhash in the
// kernel's fs/ext4/hash.c).
func (w *Writer) hash(name string) uint32 {
	buf := [4]uint32{0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476}
	if w.hashSeed != [4]uint32{} {
		buf = w.hashSeed
	}
	for rest := name; ; {
		in := w.words(rest)
		halfMD4(&buf, &in)
		if len(rest) <= 32 {
			break
		}
		rest = rest[32:]
	}
	h := buf[1] &^ 1
	const end = 0x7FFFFFFF << 1 // means the end of a directory
	if h == end {
		h = (0x7FFFFFFF - 1) << 1
	}
	return h
}

// words makes eight words of the first 32 bytes (str2hashbuf_signed and _unsigned).
func (w *Writer) words(msg string) (out [8]uint32) {
	pad := uint32(len(msg)) | uint32(len(msg))<<8
	pad |= pad << 16
	val, n := pad, 0
	for i := range min(len(msg), 32) {
		c := uint32(msg[i])
		if !w.hashUnsigned {
			c = uint32(int32(int8(msg[i])))
		}
		val = c + val<<8
		if i%4 == 3 {
			out[n] = val
			n++
			val = pad
		}
	}
	if n < len(out) {
		out[n] = val
		n++
	}
	for ; n < len(out); n++ {
		out[n] = pad
	}
	return out
}

// halfMD4 is MD4 (RFC 1320) reduced to what a hash of names needs.
func halfMD4(buf *[4]uint32, in *[8]uint32) {
	f := func(x, y, z uint32) uint32 { return z ^ x&(y^z) }
	g := func(x, y, z uint32) uint32 { return x&y + (x^y)&z }
	h := func(x, y, z uint32) uint32 { return x ^ y ^ z }
	v := *buf
	for _, r := range []struct {
		f     func(x, y, z uint32) uint32
		k     uint32
		order [8]int
		shift [4]int
	}{
		{f, 0, [8]int{0, 1, 2, 3, 4, 5, 6, 7}, [4]int{3, 7, 11, 19}},
		{g, 0x5A827999, [8]int{1, 3, 5, 7, 0, 2, 4, 6}, [4]int{3, 5, 9, 13}},
		{h, 0x6ED9EBA1, [8]int{3, 7, 2, 6, 1, 5, 0, 4}, [4]int{3, 9, 11, 15}},
	} {
		for n, at := range r.order {
			a, b, c, d := (8-n)%4, (9-n)%4, (10-n)%4, (11-n)%4
			v[a] = bits.RotateLeft32(v[a]+r.f(v[b], v[c], v[d])+in[at]+r.k, r.shift[n%4])
		}
	}
	for n := range buf {
		buf[n] += v[n]
	}
}
