package qemu_test

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"banger/internal/driver"
	"banger/internal/driver/qemu"
	"banger/internal/guest/agentproto"
	"banger/internal/paths"
)

// BenchmarkSaved measures what docs/adr/0038 says: a start until the agent's first answer, cold and from a
// saved memory, in turns, and a save. The figures are medians.
//
//	go test -run '^$' -bench Saved -benchtime 9x ./internal/driver/qemu
func BenchmarkSaved(b *testing.B) {
	for name, memory := range map[string]int64{"512MiB": 512 << 20, "2GiB": 2 << 30} {
		b.Run(name, func(b *testing.B) { benchmarkSaved(b, memory) })
	}
}

func benchmarkSaved(b *testing.B, memory int64) {
	d := qemu.New(paths.Paths{Cache: b.TempDir()}, qemu.Options{Accel: qemu.TCG})
	var cold, restored, saves figures
	var size driver.Saved
	for b.Loop() {
		s := specOf(b, "00000000000a")
		s.MemoryBytes = memory
		m := cold.start(b, func() (driver.Machine, error) { return d.Start(b.Context(), s) })
		dir := b.TempDir()
		begin := time.Now()
		if err := m.(driver.Saver).Save(b.Context(), dir); err != nil {
			b.Fatal(err)
		}
		saves.wall = append(saves.wall, time.Since(begin))
		stop(b, m)
		var err error
		if size, err = driver.ReadSaved(dir); err != nil {
			b.Fatal(err)
		}
		stop(b, restored.start(b, func() (driver.Machine, error) {
			m, err := d.Restore(b.Context(), s, dir)
			if err == nil {
				err = m.(driver.Pauser).Resume(b.Context())
			}
			return m, err
		}))
		if err := os.RemoveAll(dir); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op") // of all of it, which says nothing
	cold.report(b, "cold")
	restored.report(b, "restored")
	b.ReportMetric(ms(saves.wall), "save-ms")
	b.ReportMetric(float64(size.DataBytes)/(1<<20), "memory-MiB")
	b.ReportMetric(float64(size.StateBytes)/(1<<10), "state-KiB")
}

// figures are those of starts: until the agent's answer, and QEMU's processor time until then.
type figures struct{ wall, cpu []time.Duration }

func (f *figures) start(b *testing.B, how func() (driver.Machine, error)) driver.Machine {
	b.Helper()
	begin := time.Now()
	m, err := how()
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	conn, err := m.DialGuest(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if _, _, err := agentproto.Greet(ctx, conn, agentproto.NewHello("test", time.Now())); err != nil {
		b.Fatal(err)
	}
	f.wall = append(f.wall, time.Since(begin))
	used, _, err := m.(driver.Meter).CPUTime()
	if err != nil {
		b.Fatal(err)
	}
	f.cpu = append(f.cpu, used)
	return m
}

func (f *figures) report(b *testing.B, name string) {
	b.ReportMetric(ms(f.wall), name+"-ms")
	b.ReportMetric(ms(f.cpu), name+"-cpu-ms")
}

// ms is the median in milliseconds.
func ms(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)/2].Milliseconds())
}

func stop(b *testing.B, m driver.Machine) {
	b.Helper()
	if err := m.Kill(context.WithoutCancel(b.Context())); err != nil {
		b.Fatal(err)
	}
	m.Release()
}
