package instance

import (
	"context"
	"fmt"

	"banger/api"
)

// fullBelow is the space in bytes below which the host's disk is full: what a guest writes takes a piece
// of its disk's file.
const fullBelow = 1 << 20

// watchHostDisk records that the host cannot write the disk of a VM whose VMM does not pause
// then, but gives its guest I/O errors. How full the file system is shows it, and what the
// kernel reports of a device-mapper snapshot.
func (s *Instances) watchHostDisk(i *Instance) {
	s.watchDisk(i, func() bool { return i.DiskTrouble() != "" }, func(ctx context.Context) { s.lookAtHostDisk(ctx, i) })
}

// DiskTrouble returns why the instance's disk cannot be written; empty if it can be.
func (i *Instance) DiskTrouble() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.diskTrouble
}

func (i *Instance) setDiskTrouble(why string) (was string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	was, i.diskTrouble = i.diskTrouble, why
	return was
}

func (s *Instances) lookAtHostDisk(ctx context.Context, i *Instance) {
	v := i.vm()
	u, err := s.DiskUsage(ctx, v)
	if err != nil {
		return // bangerd-root is away, or the VM ends: the next look tells
	}
	why := ""
	switch {
	case u != nil && u.Broken != "":
		why = brokenDisk(v, u.Broken)
	case s.Room(fullBelow) != nil:
		why = "the disk of this host is full: its guest gets I/O errors for what it writes; free space, for example with banger image prune"
	}
	was := i.setDiskTrouble(why)
	switch {
	case why == was:
	case why == "":
		s.Logger.Info("the disk of a VM can be written again", "vm", v.Name)
	default:
		s.Logger.Warn("the disk of a VM cannot be written", "vm", v.Name, "reason", why)
	}
}

// brokenDisk says how a VM gets its disk back: the kernel reads and writes it again once it
// was attached again (docs/runbook.md).
func brokenDisk(v api.VM, why string) string {
	return fmt.Sprintf("its disk is broken, %s: make room on this host's disk, then banger vm kill %s && banger vm start %s", why, v.Name, v.Name)
}
