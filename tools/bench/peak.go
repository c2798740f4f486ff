package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// peaks are the most that processes had in memory (RSS), in KiB: the daemon, and of
// what it started whichever had most, by program. What is not banger's is "mke2fs".
type peaks map[string]int64

// peakEvery is how often processes that come and go are looked at. Each tells its own
// peak, so that nothing but the last moment of one is missed.
const peakEvery = 20 * time.Millisecond

// peaksOf looks at the daemon and what it starts while do is at work.
func (b *bench) peaksOf(ctx context.Context, do func() error) (peaks, error) {
	status, err := b.client.Status(ctx)
	if err != nil {
		return nil, err
	}
	// The daemon's own peak begins anew (proc_pid_clear_refs(5)).
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", status.PID), []byte("5"), 0); err != nil {
		return nil, err
	}
	found, stop, stopped := peaks{}, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			found.look(status.PID)
			select {
			case <-stop:
				return
			case <-time.After(peakEvery):
			}
		}
	}()
	err = do()
	close(stop)
	<-stopped
	found.look(status.PID)
	return found, err
}

// look notes the peaks of the daemon and of its descendants that are there.
func (p peaks) look(daemon int) {
	p.note("bangerd", daemon)
	parents := parents()
	for pid := range parents {
		for at := parents[pid]; at > 1; at = parents[at] {
			if at == daemon {
				p.note(program(pid), pid)
				break
			}
		}
	}
}

func (p peaks) note(name string, pid int) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return
	}
	for line := range bytes.Lines(data) {
		if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == "VmHWM:" {
			kib, _ := strconv.ParseInt(string(f[1]), 10, 64)
			p[name] = max(p[name], kib)
		}
	}
}

// program tells banger's own jobs, which it runs by its own file, from others.
func program(pid int) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if name := string(bytes.TrimSpace(data)); name == "mke2fs" {
		return name
	}
	return "jobs"
}

// parents are all processes with their parents (proc_pid_stat(5)).
func parents() map[int]int {
	all := map[int]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range dirs {
		data, err := os.ReadFile(file)
		_, rest, ok := bytes.Cut(data, []byte(") "))
		f := bytes.Fields(rest)
		if err != nil || !ok || len(f) < 2 {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		all[pid], _ = strconv.Atoi(string(f[1]))
	}
	return all
}
