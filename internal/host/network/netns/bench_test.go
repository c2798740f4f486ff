//go:build linux

package netns

import (
	"context"
	"testing"
)

func BenchmarkAttach(b *testing.B) {
	needsRoot(b)
	b.Run("ready", func(b *testing.B) {
		m := newManager(b, 0)
		for i := 0; i < b.N; i++ {
			b.StopTimer()
			s, err := m.makeSpace(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			m.pool.ready = append(m.pool.ready, s)
			benchAttach(b, m)
		}
	})
	b.Run("empty", func(b *testing.B) {
		m := newManager(b, 0)
		for i := 0; i < b.N; i++ {
			b.StopTimer()
			benchAttach(b, m)
		}
	})
	b.Run("again", func(b *testing.B) {
		m := newManager(b, 0)
		attach(b, m, plan(b, 1))
		b.ResetTimer()
		for i := 0; i < b.N; i++ {
			attachOnce(b, m)
		}
	})
	b.Run("none", func(b *testing.B) {
		m, id := newManager(b, 0), plan(b, 1).ID
		for i := 0; i < b.N; i++ {
			if err := m.AttachNone(context.Background(), id); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := m.Detach(context.Background(), id); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
}

func benchAttach(b *testing.B, m *Manager) {
	b.StartTimer()
	attachOnce(b, m)
	b.StopTimer()
	if err := m.Detach(context.Background(), plan(b, 1).ID); err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
}

func attachOnce(b *testing.B, m *Manager) {
	if err := m.Attach(context.Background(), plan(b, 1)); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkDetach(b *testing.B) {
	needsRoot(b)
	m := newManager(b, 0)
	for i := 0; i < b.N; i++ {
		b.StopTimer()
		attachOnce(b, m)
		b.StartTimer()
		if err := m.Detach(context.Background(), plan(b, 1).ID); err != nil {
			b.Fatal(err)
		}
	}
}
