package main

import (
	"bytes"
	"testing"
)

func TestNameReply(t *testing.T) {
	header := []byte{0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	question := []byte("\x07example\x03com\x00")
	query := func(kind byte) []byte {
		return append(append(append([]byte{}, header...), question...), 0, kind, 0, 1)
	}
	a := nameReply(query(1))
	if !bytes.HasPrefix(a, header[:2]) || a[2]&0x80 == 0 || a[7] != 1 || !bytes.HasSuffix(a, []byte{198, 51, 100, 80}) {
		t.Errorf("the answer to A is %x", a)
	}
	if aaaa := nameReply(query(28)); aaaa == nil || aaaa[7] != 0 || len(aaaa) != len(query(28)) {
		t.Errorf("the answer to AAAA is %x", aaaa)
	}
	for _, bad := range [][]byte{nil, header, a, append(append([]byte{}, header...), 63), query(1)[:20]} {
		if got := nameReply(bad); got != nil {
			t.Errorf("%x is answered with %x", bad, got)
		}
	}
}
