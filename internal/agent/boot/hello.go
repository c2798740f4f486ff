package bootup

import (
	"encoding/binary"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"banger/internal/agentproto"
)

// clockSlack is how far off the guest's clock may be before it is set: less
// than a second is as likely the way of the message.
const clockSlack = time.Second

// beforeKernel is how long a VMM and its firmware may take, on a busy host, before
// the kernel counts its uptime: the host waits no longer for a guest by default.
const beforeKernel = 2 * time.Minute

// clockIsOff tells whether the guest's clock is to be set to the host's. What the
// host said may have waited in the channel since before this guest booted: its
// time is the least that it can be now, and a clock that is ahead by no more than
// it may have waited is more likely right, as it came from the hardware.
func clockIsOff(now, host time.Time, uptime time.Duration) bool {
	ahead := now.Sub(host)
	return ahead < -clockSlack || ahead > uptime+beforeKernel
}

// uptime is how long ago the kernel started, times of suspension included.
func uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// onHello sets the clock and feeds the random number generator: the clock of a
// guest that was paused stands still, and two guests restored from one
// snapshot have the same generator.
func onHello(h agentproto.Hello) {
	if h.Time > 0 && clockIsOff(time.Now(), time.Unix(0, h.Time), uptime()) {
		tv := unix.NsecToTimeval(h.Time)
		if err := unix.Settimeofday(&tv); err != nil {
			say("set the clock: %v", err)
		}
	}
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
