package bootup

import (
	"encoding/binary"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"banger/internal/guest/agentproto"
)

// onHello sets the clock and seeds the random number generator: the clock of a paused guest
// stops, and two guests restored from one snapshot have the same generator.
func onHello(h agentproto.Hello, c *clock) {
	c.adjust(agentproto.Request{Time: h.Time})
	if err := addEntropy(h.Entropy); err != nil {
		say("feed the random number generator: %v", err)
	}
}

// addEntropy credits data to the generator (RNDADDENTROPY, random(4)).
func addEntropy(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info := entropyInfo(data)
	if err := ioctl(f.Fd(), unix.RNDADDENTROPY, unsafe.Pointer(&info[0])); err != nil {
		return err
	}
	return ioctl(f.Fd(), unix.RNDRESEEDCRNG, nil)
}

// entropyInfo is struct rand_pool_info: the credited bits, the size, the data.
func entropyInfo(data []byte) []byte {
	info := make([]byte, 8, 8+len(data))
	binary.NativeEndian.PutUint32(info, uint32(len(data)*8))
	binary.NativeEndian.PutUint32(info[4:], uint32(len(data)))
	return append(info, data...)
}

func ioctl(fd uintptr, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
