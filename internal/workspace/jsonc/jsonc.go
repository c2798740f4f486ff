// Package jsonc reads JSON with comments and trailing commas, as the files of dev containers are
// written.
package jsonc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Plain replaces comments and trailing commas by spaces, so
// that lines and offsets stay.
func Plain(data []byte) []byte {
	out := bytes.Clone(data)
	comma := -1 // the last comma behind which nothing but space has come
	for i := 0; i < len(out); i++ {
		switch c := out[i]; {
		case c == '"':
			i, comma = endOfString(out, i), -1
		case c == '/' && i+1 < len(out) && (out[i+1] == '/' || out[i+1] == '*'):
			end := endOfComment(out, i)
			for ; i < end; i++ {
				if out[i] != '\n' {
					out[i] = ' '
				}
			}
			i--
		case c == ',':
			comma = i
		case (c == ']' || c == '}') && comma >= 0:
			out[comma], comma = ' ', -1
		case c != ' ' && c != '\t' && c != '\r' && c != '\n':
			comma = -1
		}
	}
	return out
}

// endOfString returns the offset of the quote that ends a string.
func endOfString(data []byte, at int) int {
	for at++; at < len(data) && data[at] != '"'; at++ {
		if data[at] == '\\' {
			at++
		}
	}
	return at
}

// endOfComment returns the offset behind a comment. One that does not end reaches to the end.
func endOfComment(data []byte, at int) int {
	end, extra := []byte("\n"), 0
	if data[at+1] == '*' {
		end, extra = []byte("*/"), 2
	}
	if n := bytes.Index(data[at+2:], end); n >= 0 {
		return at + 2 + n + extra
	}
	return len(data)
}

// Member is a key of an object, with its value.
type Member struct {
	Key   string
	Value json.RawMessage
	Line  int
}

// Members returns the keys of an object in the order of the text, which is plain JSON.
func Members(data []byte) ([]Member, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	lineAt := func(offset int64) int {
		return 1 + bytes.Count(data[:min(max(offset, 0), int64(len(data)))], []byte("\n"))
	}
	explain := func(err error) error {
		var syntax *json.SyntaxError
		switch {
		case errors.As(err, &syntax):
			return fmt.Errorf("line %d: %w", lineAt(syntax.Offset), err)
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("line %d: it ends too early", lineAt(int64(len(data))))
		}
		return err
	}
	if t, err := d.Token(); err != nil {
		return nil, explain(err)
	} else if t != json.Delim('{') {
		return nil, fmt.Errorf("line %d: it is not an object", lineAt(d.InputOffset()))
	}
	var all []Member
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, explain(err)
		}
		m := Member{Line: lineAt(d.InputOffset())}
		m.Key, _ = t.(string) // JSON has no other keys
		if err := d.Decode(&m.Value); err != nil {
			return nil, explain(err)
		}
		all = append(all, m)
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, explain(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("line %d: something follows the end", lineAt(d.InputOffset()))
	}
	return all, nil
}
