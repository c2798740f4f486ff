package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/buildinfo"
	"banger/internal/paths"
)

// machineLine describes the machine of the run, as far as it matters, without
// identifying anybody.
type machineLine struct {
	When       time.Time `json:"when"`
	Version    string    `json:"version"`
	CPUs       int       `json:"cpus"`
	Kernel     string    `json:"host_kernel"`
	QEMU       string    `json:"qemu"`
	Accel      string    `json:"accel"`
	DiskDriver string    `json:"disk_driver"`
	FileSystem string    `json:"file_system"`
	Guest      string    `json:"guest_kernel"`
	LoadBefore string    `json:"load_before"`
	LoadAfter  string    `json:"load_after"`
	Took       float64   `json:"took_seconds"`
}

func (m *machineLine) before() {
	m.When = time.Now().UTC().Truncate(time.Second)
	m.CPUs = runtime.NumCPU()
	m.Version = buildinfo.Get().Version
	m.Kernel = release()
	m.LoadBefore = load()
}

func (m *machineLine) after() {
	m.LoadAfter = load()
	m.Took = time.Since(m.When).Round(time.Second).Seconds()
}

var versionNumber = regexp.MustCompile(`\d+\.\d+(\.\d+)?`)

// learn reads the other fields from a VM.
func (m *machineLine) learn(ctx context.Context, b *bench, vm api.VM) error {
	m.Accel, m.DiskDriver, m.Guest = vm.Accel, vm.DiskDriver, vm.Kernel
	out, err := exec.CommandContext(ctx, b.bare.program, "--version").Output()
	if err != nil {
		return err
	}
	m.QEMU = versionNumber.FindString(string(out))
	if status, err := b.client.Daemon().Status(ctx); err == nil {
		m.Version = status.Version
	}
	m.FileSystem, err = fileSystem(filepath.Join(b.paths.VM(vm.ID), paths.VMDisk))
	return err
}

// fileSystem returns the type of a file's file system, by its magic number (statfs(2)).
func fileSystem(path string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return "", err
	}
	names := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
		unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	}
	if name := names[int64(st.Type)]; name != "" {
		return name, nil
	}
	return fmt.Sprintf("%#x", st.Type), nil
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "?"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// load returns the host's load average over one minute.
func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	first, _, _ := bytes.Cut(data, []byte(" "))
	return strings.TrimSpace(string(first))
}
