package qemu

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/host/execx"
)

// firmwareFile is the BIOS of a microvm with ACPI (MICROVM_BIOS_FILENAME in QEMU's hw/i386/microvm.c).
const firmwareFile = "bios-microvm.bin"

// here returns what a saved machine must have been made with, to be restored here as spec.
func (d *Driver) here(ctx context.Context, path string, s driver.Spec, accel string) (driver.Provenance, error) {
	p := driver.Provenance{VMM: d.Name(), Accel: accel, VCPUs: s.VCPUs, MemoryBytes: s.MemoryBytes}
	err := d.setHost(&p)
	if err == nil {
		p.Version, err = fullVersion(ctx, path)
	}
	if err == nil {
		p.Binary, err = d.digests.of(path)
	}
	if err == nil {
		p.FirmwareBytes, err = firmwareBytes(ctx, path)
	}
	return p, err
}

// setHost sets what depends on the host alone. An emulated guest reads the host's time stamp counter,
// whose frequency it was told (tscArg); all else that it has is emulated.
func (d *Driver) setHost(p *driver.Provenance) (err error) {
	if p.Accel == TCG {
		p.TSCKHz = d.tsc()
		return nil
	}
	p.CPU, err = hostCPU("/proc/cpuinfo")
	return err
}

// fullVersion is the version with that of the distribution's package: the microvm machine changes without a
// version of its own (docs/system/i386/microvm.rst of QEMU).
func fullVersion(ctx context.Context, path string) (string, error) {
	var out bytes.Buffer
	if err := execx.Run(ctx, execx.Cmd{Name: path, Args: []string{"--version"}, Stdout: &out}); err != nil {
		return "", api.Errorf(api.KindUnsupported, "cannot use QEMU: %w", err)
	}
	first, _, _ := strings.Cut(out.String(), "\n")
	_, version, found := strings.Cut(first, " version ")
	if !found {
		return "", api.Errorf(api.KindUnsupported, "cannot use QEMU: the version in the output of %s is %.60q", path, first)
	}
	return version, nil
}

// runningVersion is fullVersion of a QEMU that runs, which need not be the installed one.
func (q *qmp) runningVersion(ctx context.Context) (string, error) {
	var v struct {
		QEMU    struct{ Major, Minor, Micro int }
		Package string
	}
	if err := q.Execute(ctx, "query-version", nil, &v); err != nil {
		return "", err
	}
	version := fmt.Sprintf("%d.%d.%d", v.QEMU.Major, v.QEMU.Minor, v.QEMU.Micro)
	if v.Package != "" {
		version += " (" + v.Package + ")"
	}
	return version, nil
}

// size sets the size of the machine.
func (q *qmp) size(ctx context.Context, p *driver.Provenance) error {
	var memory struct {
		Base int64 `json:"base-memory"`
	}
	if err := q.Execute(ctx, "query-memory-size-summary", nil, &memory); err != nil {
		return err
	}
	var cpus []struct{}
	if err := q.Execute(ctx, "query-cpus-fast", nil, &cpus); err != nil {
		return err
	}
	p.MemoryBytes, p.VCPUs = memory.Base, len(cpus)
	return nil
}

// firmwareBytes returns the length of the BIOS that QEMU would load: that of the first of its directories.
// The state of a machine has the BIOS, and QEMU loads it only over one of the same length.
func firmwareBytes(ctx context.Context, path string) (int64, error) {
	var out bytes.Buffer
	if err := execx.Run(ctx, execx.Cmd{Name: path, Args: []string{"-L", "help"}, Stdout: &out}); err != nil {
		return 0, api.Errorf(api.KindUnsupported, "cannot use QEMU: %w", err)
	}
	for dir := range strings.Lines(out.String()) {
		file := filepath.Join(strings.TrimSpace(dir), firmwareFile)
		if info, err := os.Stat(file); err == nil {
			return info.Size(), nil
		}
	}
	return 0, api.Errorf(api.KindUnsupported, "cannot use QEMU: it has no %s", firmwareFile)
}

// hostCPU names the processor and its features, which a guest under KVM sees (-cpu host).
func hostCPU(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", api.Errorf(api.KindInternal, "cannot find out the host's processor: %w", err)
	}
	defer f.Close()
	var model, flags string
	lines := bufio.NewScanner(f)
	for lines.Scan() && lines.Text() != "" { // the first processor
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch strings.TrimSpace(key) {
		case "model name":
			model = strings.TrimSpace(value)
		case "flags":
			flags = strings.TrimSpace(value)
		}
	}
	if err := lines.Err(); err != nil {
		return "", api.Errorf(api.KindInternal, "cannot find out the host's processor: %w", err)
	}
	sum := sha256.Sum256([]byte(flags))
	return cmp.Or(model, "unknown") + ", features " + hex.EncodeToString(sum[:8]), nil
}

// digests remembers the digests of programs. Reading QEMU's takes 100 ms.
type digests struct {
	mu    sync.Mutex
	known map[fileState]string
}

// fileState says which file it is and when it was changed.
type fileState struct {
	device, inode uint64
	size          int64
	modified      time.Time
	changed       syscall.Timespec
}

func (d *digests) of(path string) (string, error) {
	digest, err := d.find(path)
	if err != nil {
		return "", api.Errorf(api.KindInternal, "cannot read %s: %w", path, err)
	}
	return digest, nil
}

func (d *digests) find(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	st := info.Sys().(*syscall.Stat_t)
	state := fileState{st.Dev, st.Ino, info.Size(), info.ModTime(), st.Ctim}
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.known[state]; known != "" {
		return known, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	if d.known == nil {
		d.known = map[fileState]string{}
	}
	digest := hex.EncodeToString(h.Sum(nil))
	d.known[state] = digest
	return digest, nil
}
