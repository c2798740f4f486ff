package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/driver/qemu/migration"
	"banger/internal/driver/vmproc"
	"banger/internal/host/execx"
	"banger/internal/host/proc"
)

// Judge implements driver.Restorer.
func (d *Driver) Judge(ctx context.Context, s driver.Spec, dir string) error {
	_, _, err := d.judge(ctx, s, dir)
	return err
}

// judge returns the program and the accelerator to restore with.
func (d *Driver) judge(ctx context.Context, s driver.Spec, dir string) (path, accel string, err error) {
	if accel, err = d.prepare(ctx, s); err != nil {
		return "", "", err
	}
	if path, err = execx.LookPath(d.opts.Binary, debianPackage); err != nil {
		return "", "", err
	}
	saved, err := driver.ReadSaved(dir)
	if err != nil {
		return "", "", err
	}
	here, err := d.here(ctx, path, s, accel)
	if err != nil {
		return "", "", err
	}
	return path, accel, saved.Provenance.Judge(here)
}

// Restore implements driver.Restorer.
func (d *Driver) Restore(ctx context.Context, s driver.Spec, dir string) (driver.Machine, error) {
	path, accel, err := d.judge(ctx, s, dir)
	if err != nil {
		return nil, err
	}
	state, err := readState(dir)
	if err != nil {
		return nil, err
	}
	p, err := spawn(path, s, func(files Files) []string {
		return RestoreArgs(s, accel, files, filepath.Join(dir, driver.SavedMemory))
	})
	if err == nil {
		err = awaitMonitor(ctx, p, s.Dir)
	}
	if err == nil {
		err = load(ctx, p, s.Dir, state)
	}
	if err != nil {
		return nil, errors.Join(err, cleanUp(p, s.Dir))
	}
	handle := vmproc.HandleOf(p)
	p.Close()
	return d.Recover(ctx, s.ID, s.Dir, handle)
}

// readState returns the state of the devices if it is what was saved.
func readState(dir string) ([]byte, error) {
	saved, err := driver.ReadSaved(dir)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, driver.SavedState)
	f, err := os.Open(name)
	if err != nil {
		return nil, api.Errorf(api.KindUnsupported, "the saved memory cannot be used: %w", err)
	}
	defer f.Close()
	state, err := io.ReadAll(io.LimitReader(f, migration.MaxState+1))
	if err != nil {
		return nil, api.Errorf(api.KindUnsupported, "the saved memory cannot be used: %w", err)
	}
	if sum := sha256.Sum256(state); hex.EncodeToString(sum[:]) != saved.StateSHA256 {
		return nil, api.Errorf(api.KindUnsupported, "the saved memory cannot be used: %s is not what was saved: its digest differs", name)
	}
	return state, nil
}

// load has QEMU load the state. A QEMU that cannot do so ends.
func load(ctx context.Context, p *proc.Process, dir string, state []byte) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	q, err := monitorIn(dir).open(ctx)
	if err == nil {
		defer q.Close()
		err = q.load(ctx, state)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "cannot restore the VM: %w", context.Cause(ctx))
	}
	if waitGone(p) {
		return api.Errorf(api.KindUnsupported, "QEMU refuses the saved memory: %s", vmproc.LastWords(dir))
	}
	return api.Errorf(api.KindInternal, "cannot restore the VM: %w", err)
}

// load gives QEMU the state by a pipe: 10.0 warns of fd: with a file.
func (q *qmp) load(ctx context.Context, state []byte) error {
	if err := q.reportMigration(ctx); err != nil {
		return err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	written := make(chan struct{})
	defer func() { in.Close(); <-written }()
	go func() {
		defer close(written)
		_, _ = in.Write(state) // if it fails, so does the migration
		in.Close()
	}()
	err = q.pass(ctx, out)
	out.Close()
	if err != nil {
		return err
	}
	if err := q.Execute(ctx, "migrate-incoming", map[string]string{"uri": "fd:" + fdName}, nil); err != nil {
		return err
	}
	return q.awaitMigration(ctx)
}

// endUnlessLoaded ends a QEMU that has nothing loaded: who restored it was killed meanwhile. It returns
// driver.ErrGone then. A QEMU that does not answer is left alone.
func (m machine) endUnlessLoaded(ctx context.Context) error {
	status, err := m.monitor().status(ctx)
	if err == nil && status == "inmigrate" {
		err = m.Kill(ctx)
	} else {
		err = nil
	}
	select {
	case <-m.Done():
		return driver.ErrGone
	default:
		return err
	}
}
