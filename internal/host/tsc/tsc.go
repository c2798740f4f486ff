// Package tsc measures the frequency of this processor's time stamp counter.
//
// QEMU's emulation shows a guest the host's counter (cpu_get_host_ticks in
// QEMU's include/qemu/timer.h), but not its frequency, so the guest's kernel
// calibrates it against an emulated timer chip. On a busy host that fails, and
// a microvm, which has no other clock, then hangs forever in early boot. If the
// frequency is passed to it (tsc_early_khz= in the kernel's kernel-parameters.txt), the
// kernel does not calibrate.
package tsc

import "time"

// window is how long to measure: with a read error of some 100 ns this gives 5 digits; the
// kernel's own calibration accepts 3.
const window = 20 * time.Millisecond

// KHz returns the counter's frequency in kHz, or 0 without such a counter. It takes
// about 20 ms.
func KHz() int64 {
	begin := time.Now()
	t0, c0 := read(begin)
	if c0 == 0 {
		return 0
	}
	time.Sleep(window)
	t1, c1 := read(begin)
	if c1 <= c0 || t1 <= t0 {
		return 0
	}
	return int64(float64(c1-c0) * 1e6 / float64(t1-t0))
}

// read returns the time since begin and the counter at that moment, as close together as a
// few tries allow: a try may be interrupted by the scheduler.
func read(begin time.Time) (at time.Duration, count uint64) {
	best := time.Duration(1<<63 - 1)
	for range 16 {
		before := time.Since(begin)
		c := counter()
		after := time.Since(begin)
		if after-before < best {
			best, at, count = after-before, before+(after-before)/2, c
		}
	}
	return at, count
}
