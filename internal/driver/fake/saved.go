package fake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/driver/vmproc"
	"banger/internal/host/fsx"
)

// state is what a fake guest's memory holds: which guest it is. Its programs are processes of the host and
// are not saved, so a restored guest has none.
type state struct {
	BootID string `json:"boot_id"`
	Frozen []byte `json:"frozen,omitempty"` // what frozenFile has
}

// sizeOf writes the size of a machine for its command line.
func sizeOf(s driver.Spec) string { return fmt.Sprintf("%d/%d", s.VCPUs, s.MemoryBytes) }

// provenance is that of a fake machine of a size.
func provenance(size string) (p driver.Provenance, err error) {
	p = driver.Provenance{VMM: "fake", Version: "1", Accel: "none"}
	_, err = fmt.Sscanf(size, "%d/%d", &p.VCPUs, &p.MemoryBytes)
	return p, err
}

// Save implements driver.Saver.
func (m machine) Save(ctx context.Context, dir string) error {
	ran := !m.Suspended()
	err := m.Pause(ctx)
	if err == nil {
		err = m.write(ctx, dir)
	}
	if err == nil {
		return nil
	}
	if ran {
		err = errors.Join(err, m.Resume(ctx))
	}
	if ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "cannot save the VM's memory: %w", err)
	}
	return fsx.DiskError("save the VM's memory", err)
}

func (m machine) write(ctx context.Context, dir string) error {
	args, err := m.Cmdline()
	if err != nil {
		return err
	}
	g, ok := parseGuest(args)
	if !ok {
		return errors.New("the fake VMM has changed its command line")
	}
	saved := driver.Saved{}
	if saved.Provenance, err = provenance(g.size); err != nil {
		return err
	}
	frozen, err := os.ReadFile(filepath.Join(g.dir, frozenFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	data, err := json.Marshal(state{g.bootID, frozen})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	saved.StateBytes, saved.StateSHA256, saved.DataBytes = int64(len(data)), hex.EncodeToString(sum[:]), int64(len(data))
	for name, length := range map[string]int64{driver.SavedState: saved.StateBytes, driver.SavedMemory: saved.MemoryBytes} {
		if err := create(filepath.Join(dir, name), data, length); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return driver.WriteSaved(dir, saved)
}

// create creates a file that begins with data.
func create(name string, data []byte, length int64) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Truncate(length), f.Sync(), f.Close())
}

// Judge implements driver.Restorer.
func (d *Driver) Judge(_ context.Context, s driver.Spec, dir string) error {
	saved, err := driver.ReadSaved(dir)
	if err != nil {
		return err
	}
	here, err := provenance(sizeOf(s))
	if err != nil {
		return err
	}
	return saved.Provenance.Judge(here)
}

// Restore implements driver.Restorer.
func (d *Driver) Restore(ctx context.Context, s driver.Spec, dir string) (driver.Machine, error) {
	if ctx.Err() != nil {
		return nil, api.Errorf(api.KindCanceled, "cannot restore the VM: %w", context.Cause(ctx))
	}
	if err := d.Judge(ctx, s, dir); err != nil {
		return nil, err
	}
	held, err := readState(dir)
	if err != nil {
		return nil, err
	}
	path, err := d.executable()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(s.Disk); err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot start the fake VMM: %w", err)
	}
	if held.Frozen != nil {
		if err := os.WriteFile(filepath.Join(s.Dir, frozenFile), held.Frozen, 0o600); err != nil {
			return nil, fsx.DiskError("restore the VM", err)
		}
	}
	p, err := spawn(path, s.Dir, guest{id: s.ID, dir: s.Dir, fault: "none", bootID: held.BootID, size: sizeOf(s), restored: true})
	if err == nil {
		err = awaitReady(ctx, p)
	}
	if err != nil {
		return nil, errors.Join(err, cleanUp(p, s.Dir))
	}
	handle := vmproc.HandleOf(p.Process)
	m, err := d.Recover(ctx, s.ID, s.Dir, handle)
	if err == nil {
		if err = m.(machine).standsStill(ctx); err != nil {
			m.Release()
		}
	}
	if err != nil {
		return nil, errors.Join(err, cleanUp(p, s.Dir))
	}
	p.Close()
	return m, nil
}

func readState(dir string) (held state, err error) {
	saved, err := driver.ReadSaved(dir)
	if err != nil {
		return held, err
	}
	data, err := os.ReadFile(filepath.Join(dir, driver.SavedState))
	if err != nil {
		return held, api.Errorf(api.KindUnsupported, "the saved memory cannot be used: %w", err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != saved.StateSHA256 {
		return held, api.Errorf(api.KindUnsupported, "the saved memory cannot be used: its digest differs")
	}
	if err := json.Unmarshal(data, &held); err != nil {
		return held, api.Errorf(api.KindUnsupported, "the fake VMM refuses the saved memory: %w", err)
	}
	return held, nil
}
