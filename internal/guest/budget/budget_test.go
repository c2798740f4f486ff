package budget

import "testing"

func TestOfGuest(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		memory int64
		want   Guest
	}{
		{0, Guest{32, 64, 24 * mib}},
		{64 * mib, Guest{64, 64, 24 * mib}},
		{110 * mib, Guest{110, 110, 110 * mib / 4}}, // MemTotal with 128 MiB
		{512 * mib, Guest{512, 512, 128 * mib}},
		{2048 * mib, Guest{1000, 1024, 512 * mib}},
		{1 << 50, Guest{1000, 1024, 1 << 48}},
	} {
		if got := OfGuest(c.memory); got != c.want {
			t.Errorf("%d MiB: %+v, want %+v", c.memory/mib, got, c.want)
		}
	}
	for memory := int64(16 * mib); memory < 8<<30; memory += 16 * mib {
		g := OfGuest(memory)
		if memory >= 64*mib && int64(g.Connections)*connectionCost > memory/4 {
			t.Errorf("%d MiB: %d connections may take more than a quarter", memory/mib, g.Connections)
		}
	}
}

func TestOfForwarderAndDaemon(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		memory    int64
		forwarder int
		streams   int
		conns     int
	}{
		{0, 64, 512, 384},
		{1 * gib, 128, 512, 384},
		{4 * gib, 512, 1638, 1229},
		{8 * gib, 1000, 3276, 2457},
		{1 << 50, 1000, 16384, 12288},
	} {
		f, d := OfForwarder(c.memory), OfDaemon(c.memory)
		if f.Connections != c.forwarder || d.Streams != c.streams || d.Connections != c.conns {
			t.Errorf("%d GiB: %+v, %+v", c.memory/gib, f, d)
		}
		if d.Connections >= d.Streams {
			t.Errorf("%d GiB: nothing is left for commands: %+v", c.memory/gib, d)
		}
	}
}

func TestMemory(t *testing.T) {
	if m := Memory(); m < 32<<20 || m > 1<<50 {
		t.Errorf("this machine has %d bytes of memory", m)
	}
}
