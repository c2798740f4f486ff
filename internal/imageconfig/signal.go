package imageconfig

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	sigterm = int(unix.SIGTERM)
	// rtmin and rtmax are the real-time signals as C libraries number them (signal(7)).
	rtmin, rtmax = 34, 64
)

// signal parses a signal as an image names it: "SIGQUIT", "QUIT", "3", "SIGRTMIN+3".
// Empty is 0.
func signal(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	bad := fmt.Errorf("%.60q, which is not a valid signal", text)
	if n, err := strconv.Atoi(text); err == nil {
		if n < 1 || n > rtmax {
			return 0, bad
		}
		return n, nil
	}
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if offset, ok := strings.CutPrefix(name, "RTMIN"); ok {
		return realTime(rtmin, offset, "+", bad)
	}
	if offset, ok := strings.CutPrefix(name, "RTMAX"); ok {
		return realTime(rtmax, offset, "-", bad)
	}
	if n := int(unix.SignalNum("SIG" + name)); n > 0 {
		return n, nil
	}
	return 0, bad
}

func realTime(base int, offset, sign string, bad error) (int, error) {
	if offset == "" {
		return base, nil
	}
	digits, ok := strings.CutPrefix(offset, sign)
	n, err := strconv.ParseUint(digits, 10, 8)
	if !ok || err != nil || n > rtmax-rtmin {
		return 0, bad
	}
	if sign == "-" {
		return base - int(n), nil
	}
	return base + int(n), nil
}
