package script

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"banger/internal/daemon"
	"banger/internal/daemonstart"
	"banger/internal/host/fsx/synctest"
	"banger/test/harness/fakes"
)

// inside has the daemon be a part of the test's process: its fsyncs can fail.
func (m *matrix) inside() *matrix {
	m.t.Helper()
	m.client = daemonstart.Running(m.paths)
	var stop func()
	start := func() {
		ctx, cancel := context.WithCancel(context.Background())
		ready, ended := make(chan error, 1), make(chan error, 1)
		env := daemon.Env{Paths: m.paths, Log: slog.New(slog.DiscardHandler)}
		go func() {
			ended <- daemon.Run(ctx, daemon.Program{Version: "test", Build: fakes.Build}, env, func(err error) { ready <- err })
		}()
		stop = func() {
			cancel()
			m.ok(<-ended)
		}
		select {
		case err := <-ready:
			m.ok(err)
		case err := <-ended:
			m.t.Fatal(err)
		}
	}
	start()
	m.t.Cleanup(func() { stop() })
	m.restart = func() { stop(); start() }
	m.begin()
	return m
}

// TestFailedSyncsOfRequests: whichever fsync fails of those that a request makes, what the
// client is told is what is, for this daemon and the next one; nothing is left over, nobody
// else's VM has changed, and the same request again succeeds.
func TestFailedSyncsOfRequests(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED: a failing fsync at every place, with -short")
	}
	of := newParts(t)
	t.Run("requests", func(t *testing.T) {
		for _, r := range requests {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				m := newMatrix(t, of)
				faults := synctest.Below(t, m.home)
				m.inside()
				m.fault("")
				r.prepare(m)
				if err := r.do(t.Context(), m); (err != nil) != r.fails {
					t.Fatal(err)
				}
				after, before := m.state(), ""
				errors := synctest.Errors
				if strings.Contains(r.name, "image") || strings.Contains(r.name, "kernel") || r.name == "commit" {
					errors = errors[:1] // they take long, and their packages test all
				}
				faults.Each(t, errors, func(t *testing.T) {
					m.t = t
					m.fault("")
					r.prepare(m)
					before = m.state()
				}, func() error { return r.do(m.t.Context(), m) }, func(_ *testing.T, err error) {
					m.afterwards(r, err, before, after)
				})
				m.t = t
			})
		}
	})
}
