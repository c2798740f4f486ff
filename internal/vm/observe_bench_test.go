package vm

import (
	"fmt"
	"testing"
	"time"

	"banger/api"

	"golang.org/x/sys/unix"
)

// BenchmarkStats is one look at twenty VMs; core-% is the share of a core that the daemon takes at
// `banger top`'s default of two seconds.
func BenchmarkStats(b *testing.B) {
	const vms, interval = 20, 2 * time.Second
	w := newWorld(b)
	for i := range vms {
		w.must(w.Create(b.Context(), api.CreateVM{Name: fmt.Sprintf("vm%d", i), Image: "tiny", Start: true}))
	}
	before := cpuTime(b)
	b.ResetTimer()
	for range b.N {
		list, err := w.Stats(b.Context(), nil)
		if err != nil || len(list.Stats) != vms || list.Stats[vms-1].Guest == nil {
			b.Fatal(list, err)
		}
	}
	b.StopTimer()
	look := (cpuTime(b) - before) / time.Duration(b.N)
	b.ReportMetric(100*look.Seconds()/interval.Seconds(), "core-%")
	b.ReportMetric(float64(look.Microseconds())/vms, "cpu-µs/VM")
}

// cpuTime is the processor time of this process.
func cpuTime(b *testing.B) time.Duration {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
