package gitremote

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"banger/api"
)

// send writes n pieces of 1 MiB and returns how many were taken.
func send(b *Bounds, n int) (taken int, err error) {
	w, piece := b.Answers(io.Discard), make([]byte, 1<<20)
	for ; taken < n && err == nil; taken++ {
		_, err = w.Write(piece)
	}
	if err != nil {
		taken--
	}
	return taken, err
}

// TestBounds: names without end, and objects without end.
func TestBounds(t *testing.T) {
	b := &Bounds{Names: 3 << 20, Total: 10 << 20}
	if n, err := send(b, 20); n != 3 || api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "too many branches") {
		t.Errorf("%d, %v", n, err)
	}
	for version, text := range map[string]string{
		"0": "0098want 0123 multi_ack side-band-64k\n0032want 4567\n0000",
		"2": "0014command=ls-refs\n00010015peel\n00000012command=fetch0001000fno-progress0032want 0123\n0000",
	} {
		b := &Bounds{Names: 3 << 20, Total: 10 << 20}
		passed, err := io.ReadAll(b.Requests(iotest.OneByteReader(strings.NewReader(text)))) // "want " is in no single read
		if string(passed) != text || err != nil {
			t.Errorf("%q, %v", passed, err)
		}
		n, err := send(b, 20)
		if n != 10 || api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "more than 10 MiB") || api.AsError(err).Hint == "" {
			t.Errorf("version %s: %d, %v", version, n, err)
		}
		if again, err := send(b, 1); again != 0 || !errors.Is(err, b.Err()) {
			t.Errorf("version %s: after it was ended: %d, %v", version, again, err)
		}
	}
	b = &Bounds{Names: 1 << 20, Total: 1 << 30}
	if _, err := io.ReadAll(b.Requests(strings.NewReader("0014command=ls-refs\nref-prefix refs/heads/wanted"))); err != nil {
		t.Error(err)
	}
	if n, err := send(b, 2); n != 1 || err == nil {
		t.Errorf("a list of names is taken for a request: %d, %v", n, err)
	}
}

// TestRoom: the disk is looked at before it is full, and not for a small fetch.
func TestRoom(t *testing.T) {
	asked, full := 0, errors.New("full")
	b := &Bounds{Names: 1 << 40, Total: 1 << 40, Room: func() error {
		if asked++; asked == 3 {
			return full
		}
		return nil
	}}
	if n, err := send(b, 63); n != 63 || err != nil || asked != 0 {
		t.Errorf("%d, %v, asked %d times", n, err, asked)
	}
	if n, err := send(b, 1000); n != 128 || !errors.Is(err, full) || !errors.Is(b.Err(), full) {
		t.Errorf("%d, %v", n, err)
	}
}

func TestWhatIsWithinBoundsPasses(t *testing.T) {
	b := &Bounds{Names: 100, Total: 100}
	var out bytes.Buffer
	if _, err := b.Answers(&out).Write([]byte("0000")); err != nil || out.String() != "0000" || b.Err() != nil {
		t.Errorf("%q, %v", &out, err)
	}
}

func TestLimitOf(t *testing.T) {
	for value, want := range map[string]int64{"": MaxTotal, "64G": 64 << 30, "1M": 1 << 20, "64": 0, "-1G": 0, "x": 0} {
		if got, err := LimitOf(value); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v", value, got, err)
		}
	}
}
