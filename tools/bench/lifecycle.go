package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/paths"
)

// lifecycleLimit bounds the rounds of life cycles.
const lifecyclesLimit = 270 * time.Second

// lifecycles measures whole life cycles of VMs: by banger's Go client, by the banger
// command, and bare. The three alternate in a changing order.
func (b *bench) lifecycles(ctx context.Context) error {
	ways := []func(context.Context, int) error{b.bareLife, b.apiLife, b.typedLife}
	began := time.Now()
	for round := range b.rounds {
		if b.enough(began, lifecyclesLimit) {
			b.report.note("only %d of %d rounds of lives fitted in the time", round, b.rounds)
			break
		}
		for i := range ways {
			if err := ways[(round+i)%len(ways)](ctx, round); err != nil {
				return err
			}
		}
	}
	return nil
}

// bareLife is the life cycle of a QEMU started without banger.
func (b *bench) bareLife(ctx context.Context, round int) error {
	v, err := b.newBare(ctx, round)
	if err != nil {
		return err
	}
	defer v.close()
	if err := runIn(ctx, &v.client, "true"); err != nil {
		return err
	}
	done := time.Now()
	stopped, err := v.stop(ctx)
	if err != nil {
		return err
	}
	r := &b.report
	r.add("bare.total", done.Sub(v.started))
	r.add("bare.boot", v.up.Sub(v.started))
	r.add("bare.exec", done.Sub(v.up))
	r.add("bare.stop", stopped)
	return nil
}

// apiLife is the life cycle of a VM by the Go client.
func (b *bench) apiLife(ctx context.Context, round int) error {
	began := time.Now()
	vm, err := b.client.VMs().Create(ctx, b.request(fmt.Sprintf("api-%d", round), true), nil)
	if err != nil {
		return err
	}
	created := time.Now()
	if err := runIn(ctx, agentOf(b.client, vm.ID), "true"); err != nil {
		return err
	}
	done := time.Now()
	spawned, err := createdAt(filepath.Join(b.paths.VM(vm.ID), paths.VMLog))
	if err != nil {
		return err
	}
	r := &b.report
	r.add("api.total", done.Sub(began))
	r.add("api.before", spawned.Sub(began))
	r.add("api.boot", vm.StartedAt.Sub(spawned))
	r.add("api.after", created.Sub(*vm.StartedAt))
	r.add("api.exec", done.Sub(created))
	for _, step := range vm.Timing {
		r.add("step."+step.Step, time.Duration(step.Milliseconds*float64(time.Millisecond)))
	}
	began = time.Now()
	if _, err := b.client.VMs().Stop(ctx, vm.ID, api.StopVM{}, nil); err != nil {
		return err
	}
	r.add("api.stop", time.Since(began))
	began = time.Now()
	if err := b.client.VMs().Delete(ctx, vm.ID, false, nil); err != nil {
		return err
	}
	r.add("api.delete", time.Since(began))
	return nil
}

// typedLife is the life cycle of a VM by the command line.
func (b *bench) typedLife(ctx context.Context, round int) error {
	name := fmt.Sprintf("cli-%d", round)
	began := time.Now()
	cmd := b.cli(ctx, "vm", "run", "--image", imageName, "--name", name, "--vcpu", "1",
		"--memory", fmt.Sprintf("%dM", guestMemory>>20), "--disk", fmt.Sprintf("%dM", guestDisk>>20), "--", "true")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("banger vm run: %w: %s", err, out)
	}
	b.report.add("cli.total", time.Since(began))
	began = time.Now()
	if out, err := b.cli(ctx, "vm", "exec", name, "--", "true").CombinedOutput(); err != nil {
		return fmt.Errorf("banger vm exec: %w: %s", err, out)
	}
	b.report.add("cli.exec", time.Since(began))
	began = time.Now()
	if err := b.client.VMs().Delete(ctx, name, true, nil); err != nil {
		return err
	}
	b.report.add("api.delete-force", time.Since(began))
	return nil
}

// createdAt returns when a file was created. banger opens the VMM's log right before it
// starts QEMU.
func createdAt(path string) (time.Time, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME, &st); err != nil {
		return time.Time{}, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	if st.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}, fmt.Errorf("this file system does not record when %s was created", filepath.Base(path))
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)), nil
}
