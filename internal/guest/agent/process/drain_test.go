package process

import (
	"bytes"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sink takes output, and calls onWrite before each piece.
type sink struct {
	bytes.Buffer
	onWrite func()
}

func (s *sink) Write(p []byte) (int, error) {
	s.onWrite()
	return s.Buffer.Write(p)
}

func (*sink) Close() error { return nil }

// TestLastOutputInALargePipe: all of it comes, however late, and no more than the pipe
// can hold where others go on writing.
func TestLastOutputInALargePipe(t *testing.T) {
	const capacity = 512 << 10
	for name, more := range map[string][]byte{"all has been written": nil, "others write": make([]byte, 4096)} {
		t.Run(name, func(t *testing.T) {
			file, theirs, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			defer theirs.Close()
			if _, err := unix.FcntlInt(theirs.Fd(), unix.F_SETPIPE_SZ, capacity); err != nil {
				t.Fatal(err)
			}
			if err := unix.SetNonblock(int(theirs.Fd()), true); err != nil {
				t.Fatal(err)
			}
			if n, err := unix.Write(int(theirs.Fd()), make([]byte, capacity)); n != capacity {
				t.Fatal(n, err)
			}
			if err := file.SetReadDeadline(time.Now()); err != nil {
				t.Fatal(err)
			}
			out := &sink{onWrite: func() { _, _ = unix.Write(int(theirs.Fd()), more) }}
			drain(file, out)
			if out.Len() != capacity {
				t.Errorf("%d bytes of %d", out.Len(), capacity)
			}
		})
	}
}
