package api

import "testing"

func TestCPUPercent(t *testing.T) {
	look := func(id string, pid int, cpu, clock int64) VMStats {
		return VMStats{ID: id, Host: &HostStats{PID: pid, CPUNS: &cpu, ClockNS: clock}}
	}
	before := look("a", 1, 1000, 5000)
	for name, c := range map[string]struct {
		now  VMStats
		want float64
		ok   bool
	}{
		"half a core":         {look("a", 1, 1500, 6000), 50, true},
		"two cores":           {look("a", 1, 3000, 6000), 200, true},
		"nothing":             {look("a", 1, 1000, 6000), 0, true},
		"less than before":    {look("a", 1, 10, 6000), 0, true},
		"another process":     {look("a", 2, 1500, 6000), 0, false},
		"another VM":          {look("b", 1, 1500, 6000), 0, false},
		"the same moment":     {look("a", 1, 1500, 5000), 0, false},
		"an earlier moment":   {look("a", 1, 1500, 4000), 0, false},
		"no VMM":              {VMStats{ID: "a"}, 0, false},
		"no time of the VMM":  {VMStats{ID: "a", Host: &HostStats{PID: 1, ClockNS: 6000}}, 0, false},
		"of a VM that is off": {VMStats{ID: "a", State: StateStopped}, 0, false},
	} {
		if got, ok := c.now.CPUPercent(before); got != c.want || ok != c.ok {
			t.Errorf("%s: %v, %t", name, got, ok)
		}
	}
}
