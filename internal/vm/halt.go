package vm

import (
	"context"
	"path/filepath"
	"regexp"
	"time"

	"banger/internal/guest"
	"banger/internal/host/console"
	"banger/internal/paths"
)

// haltWords is Linux's last line, "quiet" or not, when it halts on a
// machine that it cannot switch off (kernel/reboot.c, kernel_halt): Firecracker for `poweroff -f`,
// every machine for `halt -f`. The VMM would idle forever.
var haltWords = regexp.MustCompile(`\breboot: (System halted|Power down)\s*$`)

// haltTime is how long a guest that has printed it may still show that it runs.
const haltTime = 3 * time.Second

// endHalted ends the VMM of a guest that has halted: its console shows so, and its
// agent, which had answered before, does not answer.
func (s *Service) endHalted(e *entry, r *instance) {
	select {
	case <-r.up:
	default: // the words are of an earlier boot
		return
	}
	last, err := console.Tail(filepath.Join(s.Paths.VM(s.get(e).ID), paths.VMConsole), 1)
	if err != nil || !haltWords.Match(last) {
		return
	}
	s.wg.Go(func() {
		asking, cancel := context.WithTimeout(s.ctx, haltTime)
		defer cancel()
		client := guest.Client{Dial: r.open}
		if _, err := client.Health(asking); err == nil || s.ctx.Err() != nil {
			return
		}
		if s.runOf(e) != r { // it has ended on its own, and the VM may run again
			return
		}
		if err := r.kill(s.ctx, "the guest powered off"); err != nil && s.ctx.Err() == nil {
			s.Logger.Warn("cannot end the VMM of a guest that has halted", "vm", s.get(e).ID, "error", err)
		}
	})
}
