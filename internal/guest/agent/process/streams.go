package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The descriptors of a program's standard streams.
const (
	stdin = iota
	stdout
	stderr
)

const (
	// drainFor bounds the wait for the output of a command after its end: a background process
	// may hold it open forever.
	drainFor = time.Second
	// drainMax is more, in bytes, than an ended command can have left in a terminal; the size
	// of a pipe can be read, and the command may have changed it (pipe(7), F_SETPIPE_SZ).
	drainMax = 64 << 10
	// endOfTransmission is the terminal's default end-of-file character (termios(3)).
	endOfTransmission = 4
)

// openPipes creates three pipes; the program's ends block, the agent's do not.
func openPipes(p *Running) (theirs []*os.File, err error) {
	for id := range 3 {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			return theirs, fmt.Errorf("cannot create a pipe: %w", err)
		}
		ours, their := fds[0], fds[1]
		if id == stdin {
			ours, their = fds[1], fds[0]
		}
		theirs = append(theirs, os.NewFile(uintptr(their), "pipe"))
		err := unix.SetNonblock(ours, true)
		file := os.NewFile(uintptr(ours), "pipe")
		if id == stdin {
			p.stdin = file
		} else {
			p.outs[id] = file
		}
		if err != nil {
			return theirs, err
		}
	}
	return theirs, nil
}

func (p *Running) close() {
	if p.stdin != nil {
		p.stdin.Close()
	}
	for _, f := range p.outs {
		f.Close()
	}
}

// drain carries the command's output. The returned channel is closed at its end.
func (p *Running) drain(s Streams) <-chan struct{} {
	over := make(chan struct{})
	var outputs sync.WaitGroup
	for id, file := range p.outs {
		out := s.Out
		if id == stderr {
			out = s.Err
		}
		outputs.Go(func() { p.open[id] = !drain(file, out) })
	}
	go func() {
		outputs.Wait()
		close(over)
	}()
	return over
}

// feed writes the client's input to the command. Input that the command does not read any more is
// dropped.
func (c *Command) feed(file *os.File, in io.Reader) {
	typed := &lastByte{r: in, last: '\n'}
	_, err := io.Copy(file, typed)
	switch {
	case err != nil:
		_, _ = io.Copy(io.Discard, in)
	case c.exec.TTY:
		_, _ = file.Write([]byte{endOfTransmission})
		if typed.last != '\n' { // the first one only ended a line (termios(3), VEOF)
			_, _ = file.Write([]byte{endOfTransmission})
		}
	default:
		file.Close()
	}
}

// lastByte records the last byte that was read.
type lastByte struct {
	r    io.Reader
	last byte
}

func (l *lastByte) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if n > 0 {
		l.last = p[n-1]
	}
	return n, err
}

// drain copies the command's output to its end, and reports whether the end was reached. After
// the command's own end file has a deadline; whatever is then in the pipe is its last output.
func drain(file *os.File, out io.WriteCloser) (ended bool) {
	defer out.Close()
	_, err := io.Copy(out, file)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err == nil // otherwise a terminal's end (EIO), or a client that is gone
	}
	_ = file.SetReadDeadline(time.Time{})
	raw, err := file.SyscallConn()
	if err != nil {
		return false
	}
	// Other processes may continue to write: no more is read than can be in the pipe now.
	_, _ = io.Copy(out, io.LimitReader(present{raw}, capacity(raw)))
	return false
}

// capacity returns how many bytes a pipe or a terminal can hold.
func capacity(raw syscall.RawConn) int64 {
	size := drainMax
	_ = raw.Control(func(fd uintptr) {
		if n, err := unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0); err == nil {
			size = n
		}
	})
	return int64(size)
}

// present reads available bytes, and returns io.EOF if there are none.
type present struct{ raw syscall.RawConn }

func (p present) Read(b []byte) (n int, err error) {
	failed := p.raw.Read(func(fd uintptr) bool {
		n, err = unix.Read(int(fd), b)
		return true
	})
	if err = errors.Join(failed, err); err == nil && n > 0 {
		return n, nil
	}
	return 0, io.EOF
}
