package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/driver/qemu/migration"
	"banger/internal/host/fsx"
)

const (
	// pipeBytes is the size of the pipe from QEMU: what an unprivileged user may have (pipe(7)).
	pipeBytes = 1 << 20
	// bandwidth is more than any pipe has, in bytes a second: QEMU's default is 128 MiB.
	bandwidth = 1 << 40
	// undoWait bounds the end of a migration whose pipe is closed, and letting the machine continue.
	undoWait = 30 * time.Second
	fdName   = "banger-state" // what the monitor calls the pipe
)

// saveJob is what it takes to save a machine, in the process that does it.
type saveJob struct {
	monitor Monitor
	dir     string       // for the files
	saved   driver.Saved // what is known of it so far
	ran     bool         // the machine ran before
}

// do saves the machine. If it fails or is cancelled, the machine continues if it ran.
func (j *saveJob) do(ctx context.Context) error {
	err := j.stopAndWrite(ctx)
	if err == nil {
		err = driver.WriteSaved(j.dir, j.saved)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	undone := j.undo(ctx)
	if ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "cannot save the VM's memory: %w", errors.Join(context.Cause(ctx), undone))
	}
	return fsx.DiskError("save the VM's memory", errors.Join(err, undone))
}

// undo lets the machine continue if it ran, and removes the manifest.
func (j *saveJob) undo(ctx context.Context) error {
	err := os.Remove(filepath.Join(j.dir, driver.SavedManifest))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if !j.ran {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoWait)
	defer cancel()
	return errors.Join(err, j.monitor.proceed(ctx))
}

// proceed lets a machine continue whose migration has failed, or soon will because its pipe is closed.
func (m Monitor) proceed(ctx context.Context) error {
	q, err := m.open(ctx)
	if err != nil {
		return err
	}
	defer q.Close()
	var info struct{ Status string }
	if err := q.Execute(ctx, "query-migrate", nil, &info); err != nil {
		return err
	}
	if q.migration == "" {
		q.migration = info.Status
	}
	if q.migration != "" && q.migration != "none" {
		if err := q.awaitMigration(ctx); err != nil && ctx.Err() != nil {
			return err
		}
	}
	return q.Execute(ctx, "cont", nil, nil)
}

// stopAndWrite stops the machine and writes its memory and state.
func (j *saveJob) stopAndWrite(ctx context.Context) error {
	opening, cancel := context.WithTimeout(ctx, monitorWait)
	defer cancel()
	q, err := j.monitor.open(opening)
	if err != nil {
		return err
	}
	defer q.Close()
	if j.saved.Version, err = q.runningVersion(opening); err != nil {
		return err
	}
	if err := q.size(opening, &j.saved.Provenance); err != nil {
		return err
	}
	if err := q.reportMigration(opening); err != nil {
		return err
	}
	if err := q.Execute(opening, "migrate-set-parameters", map[string]int64{"max-bandwidth": bandwidth}, nil); err != nil {
		return err
	}
	if err := q.Execute(opening, "stop", nil, nil); err != nil {
		return err
	}
	return q.write(ctx, j.dir, &j.saved)
}

// reportMigration has QEMU report a migration's states as events.
func (q *qmp) reportMigration(ctx context.Context) error {
	type capability struct {
		Capability string `json:"capability"`
		State      bool   `json:"state"`
	}
	return q.Execute(ctx, "migrate-set-capabilities", map[string][]capability{"capabilities": {{"events", true}}}, nil)
}

// write has QEMU migrate the machine into a pipe, and splits what comes.
func (q *qmp) write(ctx context.Context, dir string, saved *driver.Saved) error {
	state, err := create(dir, driver.SavedState)
	if err != nil {
		return err
	}
	defer state.Close()
	memory, err := create(dir, driver.SavedMemory)
	if err != nil {
		return err
	}
	defer memory.Close()
	if err := memory.Truncate(saved.MemoryBytes); err != nil {
		return err
	}
	out, err := q.migrate(ctx)
	if err != nil {
		return err
	}
	type split struct {
		migration.Result
		err error
	}
	done := make(chan split, 1)
	go func() {
		result, err := migration.Split(out, state, memory, saved.MemoryBytes)
		out.Close() // if it has failed, QEMU's migration fails
		done <- split{result, err}
	}()
	stop := context.AfterFunc(ctx, func() { out.Close() })
	failed := q.awaitMigration(ctx)
	stop()
	if failed != nil {
		out.Close()
	}
	result := <-done
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case result.err != nil && (failed == nil || !errors.Is(result.err, os.ErrClosed) && !errors.Is(result.err, migration.ErrMalformed)):
		return result.err
	case failed != nil:
		return failed
	}
	saved.StateBytes, saved.StateSHA256 = result.StateBytes, result.StateSHA256
	saved.DataBytes, saved.FirmwareBytes = result.DataBytes, result.FirmwareBytes
	if err := state.Sync(); err != nil {
		return err
	}
	return memory.Sync()
}

func create(dir, name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
}

// migrate begins a migration and returns where its stream comes from.
func (q *qmp) migrate(ctx context.Context) (*os.File, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if err = setPipeSize(out); err == nil {
		err = q.pass(ctx, in)
	}
	if err == nil {
		err = q.bounded(ctx, func() error { return q.command("migrate", map[string]string{"uri": "fd:" + fdName}, nil) })
	}
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("QEMU command migrate: %w", err)
	}
	return out, nil
}

// pass gives QEMU a descriptor, named fdName.
func (q *qmp) pass(ctx context.Context, f *os.File) error {
	return q.bounded(ctx, func() error { return q.commandWith("getfd", map[string]string{"fdname": fdName}, f, nil) })
}

// setPipeSize makes a pipe larger. A host may allow less, which is only slower.
func setPipeSize(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeBytes) })
}

// awaitMigration returns when QEMU reports the end of a migration. When ctx has ended, QEMU has some
// time to report that it has failed.
func (q *qmp) awaitMigration(ctx context.Context) error {
	waiting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(undoWait, cancel) })
	defer stop()
	return q.bounded(waiting, func() error {
		for {
			switch q.migration {
			case "completed":
				return nil
			case "failed", "cancelled":
				return errors.New("QEMU reports that its migration has " + q.migration + q.reason())
			}
			if _, err := q.read(); err != nil {
				return err
			}
		}
	})
}

// reason is what QEMU says about a migration that has failed.
func (q *qmp) reason() string {
	var info struct {
		Error string `json:"error-desc"`
	}
	if err := q.command("query-migrate", nil, &info); err != nil || info.Error == "" {
		return ""
	}
	return fmt.Sprintf(": %.200q", info.Error)
}
