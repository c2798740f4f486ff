// Package logging keeps the daemon's log within bounds. The log is the daemon's standard
// error, so that what the Go runtime says of a panic is in it too: the client opens the file
// and starts the daemon with it, and the daemon replaces it under itself as it grows.
package logging

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Max is the size in bytes from which a log is put aside. As one is kept that was put
// aside, both together take twice that.
const Max = 4 << 20

// Old is the name of the log that was put aside last, of one at path.
func Old(path string) string { return path + ".old" }

// next is what the log that comes next is called until it has the name.
func next(path string) string { return path + ".new" }

// Open opens the log at path to append to, and puts a long one aside first.
func Open(path string) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && info.Size() > Max {
		_ = os.Rename(path, Old(path)) // a long log is better than no daemon
	}
	return create(path, 0)
}

func create(path string, flags int) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|flags, 0o600)
}

// Writer writes to the log of this process. When that is longer than Max it is put aside, and
// the descriptors that led to it lead to a new one.
type Writer struct {
	path string
	outs []*os.File
	ours bool // outs[0] is the log, and not a terminal, systemd's journal or another file

	mu sync.Mutex // held over each write: a line is whole, and is in one file
}

// NewWriter returns a writer to outs[0], standard error, which is kept within bounds if it is
// the log at path. The other outs are what else may lead to that.
func NewWriter(path string, outs ...*os.File) *Writer {
	is, err := outs[0].Stat()
	log, logErr := os.Lstat(path)
	return &Writer{path: path, outs: outs, ours: err == nil && logErr == nil && os.SameFile(is, log)}
}

// Write implements io.Writer. If a log cannot be put aside, it grows until it can be;
// that is not an error.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.outs[0].Write(p)
	if !w.ours {
		return n, err
	}
	if info, statErr := w.outs[0].Stat(); statErr == nil && info.Size() > Max {
		_ = w.rotate(info)
	}
	return n, err
}

// rotate puts the log aside, which is the file of info, unless the path is another's by now:
// then a new daemon has it, and we end. The new file is there before anything is moved, so
// that a full disk changes nothing.
func (w *Writer) rotate(info os.FileInfo) error {
	now, err := os.Lstat(w.path)
	if err == nil && !os.SameFile(now, info) || err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := create(next(w.path), os.O_TRUNC)
	if err != nil {
		return err
	}
	defer f.Close()
	if now != nil {
		if err := os.Rename(w.path, Old(w.path)); err != nil {
			return err
		}
	}
	if err := os.Rename(next(w.path), w.path); err != nil {
		return err
	}
	for _, out := range w.outs {
		if is, err := out.Stat(); err == nil && os.SameFile(is, info) {
			err = unix.Dup3(int(f.Fd()), int(out.Fd()), 0)
			if err != nil {
				return os.NewSyscallError("dup3", err)
			}
		}
	}
	return nil
}
