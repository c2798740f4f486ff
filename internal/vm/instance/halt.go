package instance

import (
	"context"
	"regexp"
	"time"

	"banger/internal/guest"
	"banger/internal/host/console"
)

// haltWords is Linux's last line, "quiet" or not, when it halts on a
// machine that it cannot switch off (kernel/reboot.c, kernel_halt): Firecracker for `poweroff -f`,
// every machine for `halt -f`. The VMM would idle forever.
var haltWords = regexp.MustCompile(`\breboot: (System halted|Power down)\s*$`)

// haltTime is how long a guest that has printed it may still show that it runs.
const haltTime = 3 * time.Second

// endHalted ends the VMM of a guest that has halted: its console shows so, and its
// agent, which had answered before, does not answer.
func (s *Instances) endHalted(i *Instance) {
	select {
	case <-i.up:
	default: // the words are of an earlier boot
		return
	}
	last, err := console.Tail(s.console(i.id), 1)
	if err != nil || !haltWords.Match(last) {
		return
	}
	s.tasks.Go(func() {
		asking, cancel := context.WithTimeout(s.tasks.Context(), haltTime)
		defer cancel()
		client := guest.Client{Dial: i.Open}
		if _, err := client.Health(asking); err == nil || s.tasks.Context().Err() != nil {
			return
		}
		select {
		case <-i.gone: // it has ended on its own, and the VM may run again
			return
		default:
		}
		if err := i.Kill(s.tasks.Context(), "the guest powered off"); err != nil && s.tasks.Context().Err() == nil {
			s.Logger.Warn("cannot end the VMM of a guest that has halted", "vm", i.id, "error", err)
		}
	})
}
