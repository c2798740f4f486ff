package records

import (
	"banger/api"
	"banger/internal/host/fsx"
)

const (
	mib = 1 << 20
	// minMemory is the memory, in bytes, that the default kernel and agent need to boot.
	minMemory = 128 * mib
	// maxDisk is in whole MiB: ext4 with 4 KiB blocks, in the guest and on the host, ends
	// one block before 16 TiB (ext4(5)).
	maxDisk = 16<<40 - mib
)

// Limits are the maximum values of a request.
type Limits struct {
	VCPUs       int
	MemoryBytes int64
	Starts      int // how many VMs may boot at the same time; the others wait
}

// Check refuses the sizes of a VM that are more than this host allows, or too little. data is the
// directory of the disks.
func (l Limits) Check(v api.VM, data string) error {
	if v.VCPUs < 1 || v.VCPUs > l.VCPUs {
		return api.Errorf(api.KindInvalid, "cannot give a VM %d vCPUs: this host allows 1 to %d", v.VCPUs, l.VCPUs).
			WithHint("choose a smaller --vcpu")
	}
	if v.MemoryBytes < minMemory || v.MemoryBytes > l.MemoryBytes {
		return api.Errorf(api.KindInvalid, "cannot give a VM %d MiB of memory: this host allows %d to %d MiB",
			v.MemoryBytes/mib, minMemory/mib, l.MemoryBytes/mib).WithHint("choose another --memory, such as 1G")
	}
	if v.MemoryBytes%mib != 0 || v.DiskBytes%mib != 0 {
		return api.Errorf(api.KindInvalid, "cannot use a size that is not a whole number of MiB").WithHint("sizes look like 512M, 4G or 1536MiB")
	}
	if v.DiskBytes != 0 && v.DiskBytes < mib || v.DiskBytes > maxDisk {
		return api.Errorf(api.KindInvalid, "cannot create a disk of %d MiB: it must be smaller than 16 TiB", v.DiskBytes/mib).
			WithHint("choose another --disk, such as 8G")
	}
	return fsx.NeedLength(data, v.DiskBytes)
}
