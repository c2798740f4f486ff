package stream

import (
	"bytes"
	"io"
	"testing"
)

// script is a connection whose other end says what the fuzzer made up.
type script struct{ io.Reader }

func (script) Write(p []byte) (int, error) { return len(p), nil }
func (script) Close() error                { return nil }

// FuzzPipe lets both ends hear anything: no panic, and memory stays bounded.
func FuzzPipe(f *testing.F) {
	attach := appendHeader(nil, frame{kind: kindAttach, length: attachSize})
	attach = append(attach, attachPayload(ID{1}, flagCreate, 0)...)
	data := append(appendHeader(nil, frame{kind: kindData, length: 3}), "abc"...)
	fin := appendHeader(nil, frame{kind: kindFin, offset: 3})
	f.Add(append(append(attach, data...), fin...))
	known := appendHeader(nil, frame{kind: kindAttach, length: attachSize + generationSize})
	f.Add(append(append(known, attachPayload(ID{1}, flagCreate, 0)...), 0, 0, 0, 0, 0, 0, 0, 9))
	f.Add(append(appendHeader(nil, frame{kind: kindAttach}), data...))
	f.Add(append(appendHeader(nil, frame{kind: kindReset, length: 2}), "{}"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		client := New(ID{1})
		_, _ = client.Write([]byte("hello"))
		_ = client.Attach(script{bytes.NewReader(b)}, nil)
		server := New(ID{1})
		if wish, err := Accept(script{bytes.NewReader(b)}); err == nil {
			_ = wish.Serve(server)
		}
		for _, p := range []*Pipe{client, server} {
			if p.in.len() > Window || p.out.len() > Window {
				t.Error("a buffer grew over its window")
			}
			p.Reset(ErrClosed)
		}
	})
}
