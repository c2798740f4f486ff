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

// peaks are the largest memory uses of processes (RSS), in KiB: of the daemon, and of
// its child with the largest use, by program. Programs that are not banger's are
// counted as "mke2fs".
type peaks map[string]int64

// peakEvery is how often short-lived processes are sampled. Each reports its own peak,
// so only the last moment of one is missed.
const peakEvery = 20 * time.Millisecond

// peaksOf samples the daemon and its descendants while do runs.
func (b *bench) peaksOf(ctx context.Context, do func() error) (peaks, error) {
	status, err := b.client.Daemon().Status(ctx)
	if err != nil {
		return nil, err
	}
	// This resets the daemon's own peak (proc_pid_clear_refs(5)).
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

// look records the peaks of the daemon and of its running descendants.
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

// program distinguishes banger's own jobs, which run its own file, from others.
func program(pid int) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if name := string(bytes.TrimSpace(data)); name == "mke2fs" {
		return name
	}
	return "jobs"
}

// parents returns all processes with their parents (proc_pid_stat(5)).
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
