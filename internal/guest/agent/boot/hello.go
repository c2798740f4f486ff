package bootup

import (
	"encoding/binary"
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"banger/internal/guest/agent/identity"
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

// incarnate makes this guest differ from what it was saved as, and from copies of it. Without other random
// numbers no program may run: it would draw those of another guest, as keys and as nonces.
func incarnate(h agentproto.Hello, c *clock) (steps []agentproto.Step, must error) {
	random := agentproto.Step{Name: agentproto.StepRandom, State: agentproto.StepDone}
	if len(h.Entropy) < minEntropy {
		must = errors.New("the host has sent no random bytes")
	} else {
		must = addEntropy(h.Entropy)
	}
	if must != nil {
		random.State, random.Detail = agentproto.StepFailed, must.Error()
		say("feed the random number generator: %v", must)
	}
	steps = append(steps, random, c.restore(time.Duration(h.Time)))
	if h.Incarnation.Mode == agentproto.ModeSame || must != nil {
		return steps, must
	}
	steps = append(steps, identity.EndConnections())
	if h.Incarnation.Mode != agentproto.ModeChild {
		return steps, nil
	}
	name, _ := os.Hostname()
	more, later := identity.Become(identity.Options{
		Root: "/", Hostname: name, SetHostname: func(name string) error { return unix.Sethostname([]byte(name)) },
	}, h.Identity)
	if later != nil {
		go later()
	}
	return append(steps, more...), nil
}

// minEntropy is what the generator holds, in bytes (random(4)).
const minEntropy = 32

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
