package tarball

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
)

// ReadAhead reads an uncompressed archive in a separate goroutine, some pieces ahead of
// the unpacker, and computes its digest: decompressing and writing files take about the
// same time, and most machines have several processors.
type ReadAhead struct {
	pieces  chan piece
	free    chan []byte // buffers to reuse
	current []byte
	buffer  []byte
	err     error
	sum     hash.Hash
	n       int64
	quit    chan struct{}
}

type piece struct {
	data []byte
	err  error
}

const (
	readAheadPieces = 4
	readAheadBytes  = 512 << 10
)

// NewReadAhead starts to read r. It calls check after each piece with the number of
// bytes so far.
func NewReadAhead(r io.Reader, check func(n int64) error) *ReadAhead {
	a := &ReadAhead{pieces: make(chan piece, readAheadPieces), free: make(chan []byte, readAheadPieces), sum: sha256.New(), quit: make(chan struct{})}
	for range readAheadPieces {
		a.free <- make([]byte, readAheadBytes)
	}
	go a.run(r, check)
	return a
}

func (a *ReadAhead) run(r io.Reader, check func(int64) error) {
	defer close(a.pieces)
	for {
		var buffer []byte
		select {
		case buffer = <-a.free:
		case <-a.quit:
			return
		}
		n, err := FillUp(r, buffer)
		a.sum.Write(buffer[:n])
		a.n += int64(n)
		if bad := check(a.n); bad != nil {
			err = bad
		}
		select {
		case a.pieces <- piece{buffer[:n], err}:
		case <-a.quit:
			return
		}
		if err != nil {
			return
		}
	}
}

// FillUp reads until p is full or r ends. Unlike io.ReadFull, it does not report a
// short last piece as an error.
func FillUp(r io.Reader, p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := r.Read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (a *ReadAhead) Read(p []byte) (int, error) {
	for len(a.current) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		if a.buffer != nil {
			a.free <- a.buffer
		}
		next, ok := <-a.pieces
		if !ok {
			a.err = io.EOF
			return 0, a.err
		}
		a.current, a.buffer, a.err = next.data, next.data[:cap(next.data)], next.err
	}
	n := copy(p, a.current)
	a.current = a.current[n:]
	return n, nil
}

// Close stops the reading, wherever it is.
func (a *ReadAhead) Close() {
	close(a.quit)
	for range a.pieces {
	}
}

// Digest returns the digest of the archive, and its length in bytes. All of it must
// have been read.
func (a *ReadAhead) Digest() (string, int64) {
	return "sha256:" + hex.EncodeToString(a.sum.Sum(nil)), a.n
}
