package sshd

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// Terminal is a client's description of its terminal.
type Terminal struct {
	Term       string // TERM; may be empty
	Rows, Cols uint16
	modes      map[byte]uint32
}

// The opcodes of terminal modes (RFC 4254, section 8). Those below firstUndefined
// have an argument of 4 bytes; at another one reading stops.
const (
	modesEnd       = 0
	firstUndefined = 160
)

// parseModes reads the modes that a client sends, and ignores an incomplete last one.
func parseModes(text string) map[byte]uint32 {
	modes := map[byte]uint32{}
	for b := []byte(text); len(b) >= 5 && b[0] != modesEnd && b[0] < firstUndefined; b = b[5:] {
		modes[b[0]] = binary.BigEndian.Uint32(b[1:])
	}
	return modes
}

// controlChars are the opcodes whose argument is a key, 255 for none.
var controlChars = map[byte]int{
	1: unix.VINTR, 2: unix.VQUIT, 3: unix.VERASE, 4: unix.VKILL, 5: unix.VEOF, 6: unix.VEOL, 7: unix.VEOL2,
	8: unix.VSTART, 9: unix.VSTOP, 10: unix.VSUSP, 12: unix.VREPRINT, 13: unix.VWERASE, 14: unix.VLNEXT,
	16: unix.VSWTC, 18: unix.VDISCARD,
}

// The opcodes whose argument is whether a flag is set, by the field that has it.
var (
	inputFlags = map[byte]uint32{
		30: unix.IGNPAR, 31: unix.PARMRK, 32: unix.INPCK, 33: unix.ISTRIP, 34: unix.INLCR, 35: unix.IGNCR,
		36: unix.ICRNL, 37: unix.IUCLC, 38: unix.IXON, 39: unix.IXANY, 40: unix.IXOFF, 41: unix.IMAXBEL,
		42: unix.IUTF8, // RFC 8160
	}
	localFlags = map[byte]uint32{
		50: unix.ISIG, 51: unix.ICANON, 52: unix.XCASE, 53: unix.ECHO, 54: unix.ECHOE, 55: unix.ECHOK,
		56: unix.ECHONL, 57: unix.NOFLSH, 58: unix.TOSTOP, 59: unix.IEXTEN, 60: unix.ECHOCTL,
		61: unix.ECHOKE, 62: unix.PENDIN,
	}
	outputFlags = map[byte]uint32{
		70: unix.OPOST, 71: unix.OLCUC, 72: unix.ONLCR, 73: unix.OCRNL, 74: unix.ONOCR, 75: unix.ONLRET,
	}
	controlFlags = map[byte]uint32{90: unix.CS7, 91: unix.CS8, 92: unix.PARENB, 93: unix.PARODD}
)

// Prepare sets the modes of the client's terminal on a pseudo-terminal.
func (t *Terminal) Prepare(tty *os.File) error {
	conn, err := tty.SyscallConn()
	if err != nil {
		return err
	}
	failed := conn.Control(func(fd uintptr) {
		var state *unix.Termios
		if state, err = unix.IoctlGetTermios(int(fd), unix.TCGETS); err == nil {
			apply(state, t.modes)
			err = unix.IoctlSetTermios(int(fd), unix.TCSETS, state)
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

func apply(state *unix.Termios, modes map[byte]uint32) {
	for op, value := range modes {
		if at, ok := controlChars[op]; ok {
			state.Cc[at] = byte(value)
			if value == 255 {
				state.Cc[at] = 0 // _POSIX_VDISABLE on Linux (fpathconf(3))
			}
		}
		set(&state.Iflag, inputFlags[op], value)
		set(&state.Lflag, localFlags[op], value)
		set(&state.Oflag, outputFlags[op], value)
		set(&state.Cflag, controlFlags[op], value)
	}
}

// set sets or clears a flag; flag 0 means none.
func set(field *uint32, flag, value uint32) {
	if value != 0 {
		*field |= flag
	} else {
		*field &^= flag
	}
}
