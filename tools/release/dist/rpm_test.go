package dist

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// splitRPM reads a package by the format's description (RPM manual, "RPM V4
// package format"): a lead of 96 bytes, the signatures' header, padded to 8
// bytes, the header, the payload. It returns the header's texts by tag.
func splitRPM(t *testing.T, rpm []byte) (header map[uint32]string, payload []byte) {
	t.Helper()
	if len(rpm) < 96 || !bytes.HasPrefix(rpm, []byte{0xed, 0xab, 0xee, 0xdb, 3, 0}) {
		t.Fatal("that has no lead of an rpm")
	}
	_, size := readHeader(t, rpm[96:])
	rest := rpm[96+(size+7)/8*8:]
	header, size = readHeader(t, rest)
	return header, rest[size:]
}

func readHeader(t *testing.T, data []byte) (texts map[uint32]string, size int) {
	t.Helper()
	const entry, preamble = 16, 16
	if len(data) < preamble || !bytes.HasPrefix(data, []byte{0x8e, 0xad, 0xe8, 1}) {
		t.Fatal("that is no header")
	}
	count, length := int(binary.BigEndian.Uint32(data[8:])), int(binary.BigEndian.Uint32(data[12:]))
	store := data[preamble+count*entry:][:length]
	texts = map[uint32]string{}
	for i := range count {
		e := data[preamble+i*entry:]
		const text = 6 // the type STRING
		if binary.BigEndian.Uint32(e[4:]) == text {
			value, _, _ := bytes.Cut(store[binary.BigEndian.Uint32(e[8:]):], []byte{0})
			texts[binary.BigEndian.Uint32(e)] = string(value)
		}
	}
	return texts, preamble + count*entry + length
}
