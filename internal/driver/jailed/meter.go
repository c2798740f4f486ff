package jailed

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"banger/api"
	"banger/internal/vmid"
)

// cgroupRoot is where systemd mounts the hierarchy of cgroups(7), version 2.
const cgroupRoot = "/sys/fs/cgroup"

// CPUTime implements driver.Meter.
func (m *Machine) CPUTime() (used, clock time.Duration, err error) { return m.held.CPUTime() }

// Suspended implements driver.Meter.
func (m *Machine) Suspended() bool { return m.held.Suspended() }

// Memory implements driver.Meter. Only root may read how the VMM, which is another user's process, maps
// its memory; every user may read what is charged to its unit.
func (m *Machine) Memory() (bytes int64, source string, err error) {
	bytes, err = chargedMemory(cgroupRoot, m.id)
	return bytes, api.MemoryCgroup, err
}

// chargedMemory returns the memory in bytes that is charged to the unit of a VM.
func chargedMemory(root, id string) (int64, error) {
	data, err := os.ReadFile(filepath.Join(root, vmid.Slice, vmid.Unit(id), "memory.current"))
	if err != nil {
		return 0, fmt.Errorf("cannot read the memory of VM %s: %w", id, err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("cannot read the memory of VM %s: bad number %.40q", id, data)
	}
	return n, nil
}
