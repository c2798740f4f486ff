package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/daemonstart"
	"banger/internal/op"
	"banger/internal/paths"
	"banger/internal/store"
)

// A daemon starts with that many stopped VMs, and beside that many idle processes. The
// issue that requested the measurement set both numbers.
const (
	stoppedVMs = 1000
	bystanders = 2000
)

const (
	stoppedLimit = 2 * time.Minute
	startTime    = time.Minute // far more than a start may take
)

// stopped measures a daemon's start, until it has answered with the list of its VMs, in
// a separate home.
func (b *bench) stopped(ctx context.Context) (err error) {
	home := filepath.Join(b.home, "stopped")
	if err := os.RemoveAll(home); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	p := paths.Paths{Data: filepath.Join(home, "data"), Cache: filepath.Join(home, "cache"), Config: home}
	if err := writeStopped(ctx, p); err != nil {
		return err
	}
	end, err := crowdOf(bystanders)
	if err != nil {
		return err
	}
	defer end()
	began := time.Now()
	for i := range b.rounds {
		if b.enough(began, stoppedLimit) {
			b.report.note("a daemon was started %d times beside VMs that do not run, not %d", i, b.rounds)
			break
		}
		took, busy, err := b.startBeside(ctx, home, p)
		if err != nil {
			return err
		}
		b.report.add("daemon.start", took)
		b.report.add("daemon.start-busy", busy)
	}
	return nil
}

// writeStopped records stopped VMs.
func writeStopped(ctx context.Context, p paths.Paths) error {
	if err := os.MkdirAll(p.VMs(), 0o700); err != nil {
		return err
	}
	st, err := store.Open(ctx, p.Store())
	if err != nil {
		return err
	}
	digest, began := fmt.Sprintf("sha256:%064d", 1), time.Now()
	for n := range stoppedVMs {
		v := api.VM{
			ID: op.NewID(), Name: fmt.Sprintf("vm%d", n), State: api.StateStopped, Image: imageName, ImageDigest: digest, KernelDigest: digest,
			Driver: "qemu", DiskDriver: "copy", VCPUs: 1, MemoryBytes: guestMemory, DiskBytes: guestDisk, CreatedAt: began, StartedAt: &began, StoppedAt: &began,
		}
		err = errors.Join(err, st.AddVM(ctx, v), os.Mkdir(p.VM(v.ID), 0o700))
		for _, name := range []string{paths.VMDisk, paths.VMConsole, paths.VMHandles} {
			err = errors.Join(err, os.WriteFile(filepath.Join(p.VM(v.ID), name), nil, 0o600))
		}
	}
	return errors.Join(err, st.Close())
}

// crowdOf starts idle processes in a separate process group; end ends them.
func crowdOf(n int) (end func(), err error) {
	cmd := exec.Command("sh", "-c", fmt.Sprintf("for n in $(seq %d); do sleep 600 & done; echo; wait", n))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	end = func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// startBeside starts a daemon and ends it, and returns how long it took to answer, and the
// processor time of its whole life.
func (b *bench) startBeside(ctx context.Context, home string, p paths.Paths) (took, busy time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(b.root, "bin", "bangerd"))
	cmd.Env = append(os.Environ(), "BANGER_HOME="+home)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	c := daemonstart.Running(p)
	var all []api.VM
	for took == 0 && ctx.Err() == nil {
		if all, err = c.VMs().List(ctx); err == nil {
			took = time.Since(began)
			continue
		}
		time.Sleep(2 * time.Millisecond)
	}
	if err == nil && len(all) != stoppedVMs {
		err = fmt.Errorf("%d VMs are listed, not %d", len(all), stoppedVMs)
	}
	err = errors.Join(err, cmd.Process.Signal(syscall.SIGTERM))
	err = errors.Join(err, cmd.Wait())
	return took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), err
}
