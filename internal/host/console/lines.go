package console

import (
	"bytes"
	"io"
)

// longestLine bounds what a LineWriter holds: 64 KiB.
const longestLine = 64 << 10

// LineWriter writes whole lines, each as a terminal shows it in the end: programs draw
// their progress over and over, with a carriage return before each. A line that is
// longer than 64 KiB is written in pieces.
type LineWriter struct {
	w    io.Writer
	held []byte
}

// NewLineWriter returns a LineWriter. The caller must close it.
func NewLineWriter(w io.Writer) *LineWriter { return &LineWriter{w: w} }

// Write implements io.Writer.
func (l *LineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, rest, ended := bytes.Cut(p, []byte("\n"))
		l.held = lastDrawn(append(l.held, line...))
		if !ended && len(l.held) < longestLine {
			return n, nil
		}
		if ended {
			l.held = append(bytes.TrimRight(l.held, "\r"), '\n')
		}
		if err := l.Close(); err != nil || !ended {
			return n, err
		}
		p = rest
	}
}

// Close writes the held beginning of a line.
func (l *LineWriter) Close() error {
	_, err := l.w.Write(l.held)
	l.held = l.held[:0]
	return err
}

// lastDrawn removes what the text after a carriage return has replaced. Those at the end have
// replaced nothing yet.
func lastDrawn(line []byte) []byte {
	text := bytes.TrimRight(line, "\r")
	return line[bytes.LastIndexByte(text, '\r')+1:]
}
