package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A lab that hangs is detected by running a program in it at this interval, with this
// timeout. Together with the report that takes less than two minutes.
const (
	askEvery  = 20 * time.Second
	answerBy  = time.Minute
	faultsFor = 3 // the interval for checking whether guests were broken
)

// lostError is a lab that does not answer any more. banger does not end or hang one, so
// the cause was its kernel, or the emulated processor.
type lostError struct{ why string }

func (e *lostError) Error() string { return "the lab is given up: " + e.why }

// errSpoiled is what the emulated processor does to guests (docs/adr/0013).
var errSpoiled = errors.New("the emulated processor has broken a guest")

// health is whether the lab can still run a scenario.
type health struct {
	checks  *checks
	shell   *shell
	ping    func(context.Context) error // runs a program in the lab
	booting sync.Mutex                  // held while the lab is not running, and while it is asked
	faults  int                         // guestFaults at the start of the scenario or the lab's last boot
	lost    error                       // why the lab cannot be used any more
}

func newHealth(c *checks, s *shell) *health {
	return &health{checks: c, shell: s, ping: func(ctx context.Context) error {
		_, err := s.conn.Output(ctx, "true")
		return err
	}}
}

// begin starts to count faults for a scenario.
func (h *health) begin() { h.faults = h.guestFaults() }

// boot runs what stops the lab and boots it. The lab is not asked meanwhile.
func (h *health) boot(do func()) {
	h.booting.Lock()
	defer h.booting.Unlock()
	do()
	h.faults = 0
}

// guarded runs a part of a scenario, and ends it if the lab is lost or a guest is
// broken.
func (l *Lab) guarded(ctx context.Context, log io.Writer, part func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.ctx, l.script = ctx, log
	stop := l.health.watch(cancel)
	err := attempt(part)
	stop()
	if ctx.Err() != nil {
		err = endedBy(context.Cause(ctx), err)
	}
	return err
}

// endedBy combines the reason why a scenario was ended from outside with what it was
// doing. Only the first line of err is used.
func endedBy(cause, err error) error {
	if err == nil {
		return cause
	}
	return fmt.Errorf("%w (%s)", cause, firstLine(err.Error()))
}

// watch regularly checks whether the scenario can still succeed, and ends it if not.
// The function that it returns stops the watch.
func (h *health) watch(end context.CancelCauseFunc) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(askEvery)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			select { // if both are ready, select picks any
			case <-done:
				return
			default:
			}
			h.booting.Lock()
			err := h.alive()
			if err == nil && n%faultsFor == 0 {
				err = h.spoiled()
			}
			h.booting.Unlock()
			if err != nil {
				end(err)
				return
			}
		}
	}()
	return func() { close(done); <-stopped }
}

// spoiled returns what the emulated processor has done to the lab or to a guest since
// the scenario started.
func (h *health) spoiled() error {
	if err := h.alive(); err != nil {
		return err
	}
	if h.guestFaults() > h.faults {
		return errSpoiled
	}
	return nil
}

// alive reports whether the lab still runs programs: if its kernel hangs, each command
// of a scenario would take its whole timeout. A lab that hung once is not checked
// again.
func (h *health) alive() error {
	if h.lost != nil {
		return h.lost
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.checks.ctx), answerBy)
	defer cancel()
	switch err := h.ping(ctx); {
	case ctx.Err() != nil:
		h.lost = &lostError{fmt.Sprintf("it hangs, and ran no program within %.0f s", answerBy.Seconds())}
	case err != nil:
		h.lost = &lostError{"it has ended: " + err.Error()}
	}
	return h.lost
}

// traceEnds makes the lab's kernel record what can end a VMM: who sent which signal,
// and that a guest reset itself, by the keyboard controller (SVM_EXIT_IOIO at port
// 0x64) or by a triple fault (KVM_EXIT_SHUTDOWN). It also counts how often a guest was
// at the address from which the lab's kernel enters guests: occasionally the emulated
// processor takes the lab's state for the guest's, which hangs from there on
// (docs/adr/0013).
const traceEnds = `set -e; cd /sys/kernel/tracing/events || { mount -t tracefs tracefs /sys/kernel/tracing; cd /sys/kernel/tracing/events; }
echo 'sig == 9 || sig == 15' > signal/signal_generate/filter; echo 1 > signal/signal_generate/enable
modprobe kvm_amd
echo 'exit_reason == 0x7b && info1 >= 0x640000 && info1 < 0x650000' > kvm/kvm_exit/filter; echo 1 > kvm/kvm_exit/enable
echo 'reason == 8' > kvm/kvm_userspace_exit/filter; echo 1 > kvm/kvm_userspace_exit/enable
entry=0x$(grep -m1 ' __svm_vcpu_run' /proc/kallsyms | cut -d' ' -f1)
printf 'hist:keys=vcpu_id if guest_rip >= 0x%x && guest_rip < 0x%x\n' $((entry)) $((entry + 0x200)) > kvm/kvm_exit/trigger`

// guestFaults counts what the emulated processor did to guests since the lab booted, as
// far as it is known: triple faults (a guest's own reset uses the keyboard controller),
// and exits of guests that have the lab's state.
func (h *health) guestFaults() int {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.checks.ctx), time.Minute)
	defer cancel()
	out, err := h.shell.conn.Output(ctx, "sh", "-c", `cd /sys/kernel/tracing; hits=$(sed -n 's/^ *Hits: //p' events/kvm/kvm_exit/hist); echo $(($(grep -c KVM_EXIT_SHUTDOWN trace) + ${hits:-0}))`)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(out))
	return n
}
