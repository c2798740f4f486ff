package config

import (
	"runtime"

	"banger/internal/size"

	"golang.org/x/sys/unix"
)

// Host is the information from which the size of a new VM is chosen.
type Host struct {
	CPUs        int
	MemoryBytes int64
}

// DetectHost measures this host.
func DetectHost() Host {
	h := Host{CPUs: runtime.NumCPU()}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		h.MemoryBytes = int64(info.Totalram) * int64(max(1, info.Unit))
	}
	return h
}

// vcpus returns two at most: a build and a shell run in parallel; more would only slow
// down emulation and other VMs.
func (h Host) vcpus() int { return min(2, max(1, h.CPUs)) }

// memory returns an eighth of the host's, so that several VMs fit beside a browser.
func (h Host) memory() int64 {
	eighth := h.MemoryBytes / 8 / size.MiB * size.MiB
	return min(2*size.GiB, max(512*size.MiB, eighth))
}
