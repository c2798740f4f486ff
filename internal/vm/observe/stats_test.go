package observe

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest/agentproto"
)

// TestGuestStats: a guest may say anything, and what cannot be true is not passed on.
func TestGuestStats(t *testing.T) {
	for said, want := range map[string]api.GuestStats{
		`{}`: {Load: []float64{0, 0, 0}},
		`{"uptime_seconds":5.5,"load":[1,2,3],"memory_bytes":100,"memory_available_bytes":60,"sessions":2,
		  "network":{"device":"eth0","up":true,"rx_bytes":1,"rx_packets":2,"tx_bytes":3,"tx_packets":4},"disk":{"bytes":9,"available_bytes":8}}`: {
			UptimeSeconds: 5.5, Load: []float64{1, 2, 3}, MemoryBytes: 100, MemoryUsedBytes: 40, Sessions: 2,
			Network: &api.GuestNetwork{Device: "eth0", Up: true, RxBytes: 1, RxPackets: 2, TxBytes: 3, TxPackets: 4},
			Disk:    &api.GuestDisk{Bytes: 9, AvailableBytes: 8},
		},
		`{"uptime_seconds":-1,"load":[-1,0,0],"memory_bytes":10,"memory_available_bytes":11,"sessions":-7,
		  "network":{"device":"` + strings.Repeat("x", 100) + `","rx_bytes":-1,"rx_packets":-1,"tx_bytes":-1,"tx_packets":-1},"disk":{"bytes":-5,"available_bytes":3}}`: {
			Load: []float64{0, 0, 0}, MemoryBytes: 10, Network: &api.GuestNetwork{Device: strings.Repeat("x", 15)}, Disk: &api.GuestDisk{},
		},
		`{"memory_bytes":-10,"memory_available_bytes":-9223372036854775808}`: {Load: []float64{0, 0, 0}},
	} {
		var h agentproto.Health
		if err := json.Unmarshal([]byte(said), &h); err != nil {
			t.Fatal(err)
		}
		got, _ := json.Marshal(guestStats(h, 0))
		expected, _ := json.Marshal(want)
		if string(got) != string(expected) {
			t.Errorf("%s:\n%s, want\n%s", said, got, expected)
		}
	}
}

// meter measures nothing, and counts how often it is asked for the memory.
type meter struct {
	takes time.Duration
	asked int
	err   error
}

func (m *meter) CPUTime() (used, clock time.Duration, err error) { return 1, 2, nil }

func (m *meter) Suspended() bool { return false }

func (m *meter) Memory() (int64, string, error) {
	m.asked++
	time.Sleep(m.takes)
	return int64(m.asked), api.MemoryPSS, m.err
}

// TestMemoryIsNotReadAgainAtOnce: what the kernel takes long for is repeated rarely.
func TestMemoryIsNotReadAgainAtOnce(t *testing.T) {
	m, w := &meter{takes: 5 * time.Millisecond}, &seen{}
	first := w.hostMemory(m, 1)
	time.Sleep(2 * time.Millisecond)
	again := w.hostMemory(m, 1)
	if m.asked != 1 || first.Bytes != 1 || first.AgeMS != 0 || again.Bytes != 1 || again.AgeMS < 2 {
		t.Errorf("asked %d times: %+v, then %+v", m.asked, first, again)
	}
	w.readAt = time.Now().Add(-w.cost * memoryShare * 2)
	if got := w.hostMemory(m, 20); got.Bytes != 1 {
		t.Errorf("as one of twenty it was read again: %+v", got)
	}
	if got := w.hostMemory(m, 1); got.Bytes != 2 || got.AgeMS != 0 {
		t.Errorf("it was not read again: %+v", got)
	}
	m.err, w.readAt = errors.New("it ends"), time.Time{}
	if got := w.hostMemory(m, 1); got != nil {
		t.Errorf("an error gives %+v", got)
	}
}
