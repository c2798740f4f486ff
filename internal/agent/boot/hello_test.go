package bootup

import (
	"testing"
	"time"
)

func TestClockIsOff(t *testing.T) {
	host := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		name          string
		ahead, uptime time.Duration
		want          bool
	}{
		{"right", 0, time.Hour, false},
		{"as it was when the guest was paused", -time.Minute, time.Hour, true},
		{"no clock at all", -time.Duration(host.UnixNano()), time.Second, true},
		{"the greeting waited while the guest booted", 3 * time.Second, 2500 * time.Millisecond, false},
		{"it waited longer than the kernel knows", 9 * time.Second, time.Second, false},
		{"ahead by more than it can have waited", time.Hour, time.Minute, true},
	} {
		if got := clockIsOff(host.Add(c.ahead), host, c.uptime); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
