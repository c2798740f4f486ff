package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"banger/internal/daemonstart"
)

const (
	burst = 8  // VMs created at once
	crowd = 20 // running VMs while the daemon's memory is measured
	batch = 4  // how many of the rest are created at a time

	// settleTime is how long the daemon's memory may take to settle, and settleStep how
	// long it must not change.
	settleTime = 25 * time.Second
	settleStep = 5 * time.Second
)

// many creates VMs at once and measures the daemon's memory without VMs and with many.
// The daemon is a new one that has done everything once.
func (b *bench) many(ctx context.Context) error {
	if err := daemonstart.StopAndWait(ctx, b.paths); err != nil {
		return err
	}
	warm, err := b.client.VMs().Create(ctx, b.request("warm", true), nil)
	if err != nil {
		return err
	}
	if err := runIn(ctx, agentOf(b.client, warm.ID), "true"); err != nil {
		return err
	}
	if err := b.client.VMs().Delete(ctx, warm.ID, true, nil); err != nil {
		return err
	}
	empty, err := b.memory(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.createSome(ctx, 0, burst, true); err != nil {
		return err
	}
	b.report.add("burst.wall", time.Since(began))
	for n := burst; n < crowd; n += batch {
		if err := b.createSome(ctx, n, min(batch, crowd-n), false); err != nil {
			return err
		}
	}
	full, err := b.memory(ctx)
	if err != nil {
		return err
	}
	b.report.Memory = memoryReport{VMs: crowd, Empty: empty, Full: full}
	if err := b.forwarders(ctx); err != nil {
		return err
	}
	return b.deleteCrowd(ctx)
}

// forwarders looks at the processes that serve the VMs' ports. They are the daemon's program
// and share its pages, so that PSS says what each takes on a host with so many.
func (b *bench) forwarders(ctx context.Context) error {
	all, err := b.client.VMs().List(ctx)
	if err != nil {
		return err
	}
	for _, vm := range all {
		if len(vm.Publish) == 0 {
			continue
		}
		pid, err := forwarderOf(ctx, vm.ID)
		if err != nil {
			return err
		}
		m, err := smaps(pid)
		if err != nil {
			return err
		}
		b.report.Memory.Forwarders = append(b.report.Memory.Forwarders, m)
	}
	if n := len(b.report.Memory.Forwarders); n != crowd-burst {
		return fmt.Errorf("%d VMs publish a port, not %d", n, crowd-burst)
	}
	return nil
}

// createSome creates count VMs at once. Those that are not measured publish a port.
func (b *bench) createSome(ctx context.Context, from, count int, measure bool) error {
	var all sync.WaitGroup
	errs := make([]error, count)
	took := make([]time.Duration, count)
	for i := range count {
		all.Go(func() {
			request := b.request(fmt.Sprintf("many-%d", from+i), true)
			if !measure {
				request.Publish = publishEcho
			}
			began := time.Now()
			_, errs[i] = b.client.VMs().Create(ctx, request, nil)
			took[i] = time.Since(began)
		})
	}
	all.Wait()
	if measure {
		for _, d := range took {
			b.report.add("burst.each", d)
		}
	}
	return errors.Join(errs...)
}

func (b *bench) deleteCrowd(ctx context.Context) error {
	var all sync.WaitGroup
	errs := make([]error, crowd)
	for i := range crowd {
		all.Go(func() { errs[i] = b.client.VMs().Delete(ctx, fmt.Sprintf("many-%d", i), true, nil) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// memory is the memory of the daemon, in KiB.
type memory struct {
	RSS        int64 `json:"rss_kib"`
	PSS        int64 `json:"pss_kib"`
	Private    int64 `json:"private_kib"`
	Goroutines int   `json:"goroutines"`
	Files      int   `json:"open_files"`
}

// memory waits until the daemon's memory has settled and returns it.
func (b *bench) memory(ctx context.Context) (memory, error) {
	status, err := b.client.Daemon().Status(ctx)
	if err != nil {
		return memory{}, err
	}
	least, err := smaps(status.PID)
	if err != nil {
		return least, err
	}
	began, since := time.Now(), time.Now()
	for time.Since(began) < settleTime && time.Since(since) < settleStep {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return least, context.Cause(ctx)
		}
		now, err := smaps(status.PID)
		if err != nil {
			return least, err
		}
		if now.RSS < least.RSS-64 {
			since = time.Now()
		}
		if now.RSS < least.RSS {
			least = now
		}
	}
	least.Goroutines, least.Files = status.Goroutines, status.OpenFiles
	return least, nil
}

// smaps reads a process's memory from the kernel (proc_pid_smaps(5)).
func smaps(pid int) (memory, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return memory{}, err
	}
	value := map[string]int64{}
	for line := range bytes.Lines(data) {
		if f := bytes.Fields(line); len(f) == 3 {
			value[string(f[0])], _ = strconv.ParseInt(string(f[1]), 10, 64)
		}
	}
	m := memory{RSS: value["Rss:"], PSS: value["Pss:"], Private: value["Private_Dirty:"] + value["Private_Clean:"]}
	if m.RSS == 0 {
		return m, errors.New("the kernel does not report the daemon's memory")
	}
	return m, nil
}
