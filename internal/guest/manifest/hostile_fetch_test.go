package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

// opened is the answer that begins with a file of that size.
func opened(size int64, more ...byte) []byte {
	return append(new(deltas).appendTo([]byte{answerFile}, Entry{Size: size}), more...)
}

// hostileAnswers are answers to a request of the files a and b that no agent gives, and what is
// said of each. Content has an error of its own unless it is fine.
var hostileAnswers = map[string]struct {
	answer []byte
	want   string
}{
	"nothing":                 {nil, ErrCut.Error()},
	"one answer":              {[]byte{answerRefused, 2}, ErrCut.Error()},
	"three answers":           {[]byte{answerRefused, 2, answerRefused, 2, answerRefused, 2}, "something follows the end"},
	"an unknown answer":       {[]byte{7}, "an answer is of kind 7"},
	"no error of Linux":       {[]byte{answerRefused, 0x80, 0x20}, "a number is 4096"},
	"a link with a NUL":       {[]byte{answerLink, 0, 0, 0, 0, 0, 1, 0}, "the link a has a target with a NUL byte"},
	"a link without target":   {[]byte{answerLink, 0, 0, 0, 0, 0, 0}, "a name is empty"},
	"content without an end":  {opened(9, 2, 'a'), ErrCut.Error()},
	"more than its size":      {opened(1, 2, 'a', 'b'), "a has more bytes than its size, 1"},
	"more, later":             {opened(3, 2, 'a', 'b', 2), "a has more bytes than its size, 3"},
	"less than its size":      {opened(3, 1, 'a', 0, endingWhole, 0, 0, 0, 0, 0), "2 bytes of a are missing"},
	"cut before its size":     {opened(3, 1, 'a', 0, endingCut, 0, 0, 0, 0, 0), "2 bytes of a are missing"},
	"an unknown ending":       {opened(0, 0, 9), "the ending of a is of kind 9"},
	"failed without a cause":  {opened(0, 0, endingFailed, 0), "the number of an error is 0"},
	"no attributes after it":  {opened(0, 0, endingWhole), ErrCut.Error()},
	"a negative size":         {append([]byte{answerFile, 0}, binary.AppendUvarint(nil, 1<<63)...), "a number is 9223372036854775808"},
	"a piece without end":     {opened(math.MaxInt64, binary.AppendUvarint(nil, 1<<63)...), "a number is 9223372036854775808"},
	"a piece that is a lie":   {opened(math.MaxInt64, binary.AppendUvarint(nil, math.MaxInt64)...), ErrCut.Error()},
	"a size that is a number": {append([]byte{answerFile, 0}, number...), "overflows"},
}

func TestHostileAnswers(t *testing.T) {
	for name, c := range hostileAnswers {
		all, err := receive(c.answer, "a", "b")
		if err == nil || !strings.Contains(err.Error(), c.want) || (c.want == ErrCut.Error()) != errors.Is(err, ErrCut) {
			t.Errorf("%s: got %v\nwant %s", name, err, c.want)
		}
		if len(all) == 1 && all[0].Content != nil && !errors.Is(all[0].read, err) && !errors.Is(all[0].bad, err) {
			t.Errorf("%s: its content looks whole: %v, %v", name, all[0].read, all[0].bad)
		}
		// As little as a function reads, it does not get another answer.
		got := 0
		err = Receive(bytes.NewReader(c.answer), []string{"a", "b"}, func(Fetched) error { got++; return nil })
		if err == nil || !strings.Contains(err.Error(), c.want) || got > 2 {
			t.Errorf("%s, unread: got %v\nwant %s", name, err, c.want)
		}
	}
}

// TestContentWithoutEnd: it takes no memory, and the function ends it.
func TestContentWithoutEnd(t *testing.T) {
	piece := append(binary.AppendUvarint(nil, 1000), make([]byte, 1000)...)
	whole := endless{}
	rest := opened(math.MaxInt64)
	whole.next = func() []byte {
		if len(rest) == 0 {
			rest = piece
		}
		b := rest[:min(len(rest), 7)]
		rest = rest[len(b):]
		return b
	}
	before := memory()
	enough := errors.New("enough")
	err := Receive(whole, []string{"a"}, func(f Fetched) error {
		n, err := io.CopyN(io.Discard, f.Content, 4<<20)
		if n != 4<<20 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
	if used := memory() - before; used > 1<<20 {
		t.Errorf("%d bytes of memory are kept", used)
	}
}

// FuzzReceive reads any answer.
func FuzzReceive(f *testing.F) {
	for _, c := range hostileAnswers {
		f.Add(c.answer)
	}
	f.Add(join(opened(2, 1, 'a', 1, 'b', 0, endingCut, 0, 0, 0, 0, 0), []byte{answerLink, 0, 0, 0, 0, 0, 1, 'x'}))
	f.Fuzz(func(t *testing.T, answer []byte) {
		all, err := receive(answer, "a", "b")
		if len(all) > 2 || err == nil && len(all) != 2 {
			t.Fatalf("%d answers, %v", len(all), err)
		}
		for _, r := range all {
			if r.Err == nil && r.Type == File && r.read == nil && int64(len(r.text)) != r.Size {
				t.Fatalf("%d bytes of %d", len(r.text), r.Size)
			}
			if r.Err == nil && (r.read == nil) != (r.bad == nil) {
				t.Fatalf("content: %v, after it: %v", r.read, r.bad)
			}
		}
	})
}

// FuzzServe answers any request.
func FuzzServe(f *testing.F) {
	f.Add([]byte("\x01a\x02..\x05../..\x00"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, request []byte) {
		_ = Serve(t.Context(), bytes.NewReader(request), io.Discard, dir)
	})
}
