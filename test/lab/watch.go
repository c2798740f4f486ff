package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"banger/internal/host/console"
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

// guarded runs a part of a scenario, and ends it if the lab is lost or a guest is
// broken.
func (l *Lab) guarded(ctx context.Context, log io.Writer, part func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.ctx, l.script = ctx, log
	stop := l.watch(cancel)
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
func (l *Lab) watch(end context.CancelCauseFunc) (stop func()) {
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
			l.booting.Lock()
			err := l.alive()
			if err == nil && n%faultsFor == 0 {
				err = l.spoiled()
			}
			l.booting.Unlock()
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
func (l *Lab) spoiled() error {
	if err := l.alive(); err != nil {
		return err
	}
	if l.guestFaults() > l.faults {
		return errSpoiled
	}
	return nil
}

// alive reports whether the lab still runs programs: if its kernel hangs, each command
// of a scenario would take its whole timeout. A lab that hung once is not checked
// again.
func (l *Lab) alive() error {
	if l.lost != nil {
		return l.lost
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), answerBy)
	defer cancel()
	switch err := l.ping(ctx); {
	case ctx.Err() != nil:
		l.lost = &lostError{fmt.Sprintf("it hangs, and ran no program within %.0f s", answerBy.Seconds())}
	case err != nil:
		l.lost = &lostError{"it has ended: " + err.Error()}
	}
	return l.lost
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
func (l *Lab) guestFaults() int {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), time.Minute)
	defer cancel()
	out, err := l.conn.Output(ctx, "sh", "-c", `cd /sys/kernel/tracing; hits=$(sed -n 's/^ *Hits: //p' events/kvm/kvm_exit/hist); echo $(($(grep -c KVM_EXIT_SHUTDOWN trace) + ${hits:-0}))`)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(out))
	return n
}

// said returns the command that prints the journal since the scenario started.
func (l *Lab) said(more string) string {
	since := "-b"
	if l.cursor != "" {
		since = "--after-cursor=" + Quote(l.cursor)
	}
	return "journalctl -q --no-pager -o short-precise " + since + " " + more
}

// circumstances returns the last messages of the daemons and the VMs in this scenario.
// The whole journal is written to log.
func (l *Lab) circumstances(log io.Writer) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), time.Minute)
	defer cancel()
	if l.alive() != nil {
		l.lastWords(log)
		return ""
	}
	var text bytes.Buffer
	for _, units := range []string{"-u bangerd", "-u bangerd-root", "-u 'banger-vm-*'"} {
		command := l.said("-n 10 " + units)
		out, err := l.conn.Output(ctx, "sh", "-c", command)
		if err != nil {
			fmt.Fprintf(&text, "cannot read the journal: %v\n", err)
			return text.String()
		}
		if out != "" {
			fmt.Fprintf(&text, "journal %s\n%s", units, out)
		}
	}
	if all, err := l.conn.Output(ctx, "sh", "-c", "systemctl --failed --no-pager; "+l.said("")+"; for f in /var/lib/banger/data/vms/*/*.log; do echo \"== $f\"; tail -n 50 $f; done; cat /proc/uptime; tail -n 200 /sys/kernel/tracing/trace; ps -eLo pid,tid,stat,time,wchan:20,comm; sleep 2; ps -eLo tid,stat,time,comm | grep fc_; cat /sys/kernel/tracing/events/kvm/kvm_exit/hist"); err == nil {
		fmt.Fprintf(log, "\n%s", all)
	}
	return text.String()
}

// lastWords writes the last console output of a lost lab.
func (l *Lab) lastWords(log io.Writer) {
	const lines = 200 // an oops, and what follows it
	said, err := console.Tail(l.machine.Console(), lines)
	if err != nil {
		fmt.Fprintf(log, "the console of the lab cannot be read: %v\n", err)
		return
	}
	fmt.Fprintf(log, "the last console output of the lab:\n%s\n", console.Sanitize(string(said)))
}
