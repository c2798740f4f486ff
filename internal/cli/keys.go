package cli

import (
	"bytes"
	"io"
	"time"
)

const (
	leaveKey    = 0x1d // Ctrl-]
	leaveThen   = 'd'
	leaveWithin = time.Second // as long as machinectl(1) waits for its own escape
)

// leaveKeys copies typed bytes from r to w until r ends, or until Ctrl-] d is typed and
// leave returns true; then leaveKeys returns true. A Ctrl-] that is not followed by a d
// within leaveWithin is copied.
func leaveKeys(w io.Writer, r io.Reader, leave func() bool) (left bool) {
	typed := make(chan []byte)
	go func() {
		defer close(typed)
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			if n > 0 {
				typed <- bytes.Clone(buf[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	var late <-chan time.Time
	for held := []byte(nil); ; {
		var text []byte
		select {
		case more, open := <-typed:
			if !open {
				_, _ = w.Write(held)
				return false
			}
			text = append(held, more...)
		case <-late:
			_, _ = w.Write(held)
			held, late = nil, nil
			continue
		}
		held, late = nil, nil
		if i := bytes.Index(text, []byte{leaveKey, leaveThen}); i >= 0 {
			_, _ = w.Write(text[:i])
			if leave() {
				return true
			}
			if text = text[i+2:]; len(text) == 0 {
				continue
			}
		}
		if last := len(text) - 1; text[last] == leaveKey {
			held, text, late = []byte{leaveKey}, text[:last], time.After(leaveWithin)
		}
		if _, err := w.Write(text); err != nil {
			return false
		}
	}
}
