package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"banger/internal/console"
	"banger/test/lab/host"
)

// Suite is a run of scenarios.
type Suite struct {
	// Words select the scenarios whose name begins with one of them; none means all.
	Words []string
	// Dir is for the lab while it runs; Results keeps what failed scenarios did.
	Dir, Results string
	Options      host.Options
	Out          io.Writer
}

// scenarioTime bounds a scenario.
const scenarioTime = 30 * time.Minute

// Run boots a lab, runs the scenarios in it, and says how many failed.
func (s Suite) Run(ctx context.Context) (failed int, err error) {
	chosen := s.chosen()
	if len(chosen) == 0 {
		return 0, fmt.Errorf("no scenario's name begins with %s", strings.Join(s.Words, " or "))
	}
	if err := errors.Join(os.RemoveAll(s.Results), os.MkdirAll(s.Results, 0o755)); err != nil {
		return 0, err
	}
	image, err := host.Build(ctx, s.Out)
	if err != nil {
		return 0, err
	}
	r := &run{Suite: s, image: image}
	defer func() { err = errors.Join(err, r.end()) }()
	passed, skipped := 0, 0
	for _, scenario := range chosen {
		if err := ctx.Err(); err != nil {
			return failed, context.Cause(ctx)
		}
		if scenario.Firecracker && s.Options.NoFirecracker {
			skipped++
			fmt.Fprintf(s.Out, "skip %s: this lab has no firecracker and jailer\n", scenario.Name)
			continue
		}
		begin := time.Now()
		r.passed = map[string]bool{}
		err := r.one(ctx, scenario)
		faults := 0
		for try := 1; err != nil && ctx.Err() == nil; try++ {
			if r.fault {
				faults++
			}
			if try >= tries(faults) {
				break
			}
			fmt.Fprintf(s.Out, "once %s %.1f s: failed, and is tried again\n%s", scenario.Name, time.Since(begin).Seconds(), indent(err.Error()))
			log := filepath.Join(s.Results, scenario.Name+".log")
			if err := os.Rename(log, fmt.Sprintf("%s.%d", log, try)); err != nil {
				return failed, err
			}
			begin = time.Now()
			err = r.one(ctx, scenario)
		}
		if err != nil {
			failed++
			fmt.Fprintf(s.Out, "FAIL %s %.1f s\n%s", scenario.Name, time.Since(begin).Seconds(), indent(err.Error()))
			continue
		}
		passed++
		fmt.Fprintf(s.Out, "ok   %s %.1f s\n", scenario.Name, time.Since(begin).Seconds())
	}
	fmt.Fprintf(s.Out, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return failed, nil
}

func (s Suite) chosen() []Scenario {
	var chosen []Scenario
	for _, scenario := range Scenarios {
		begins := func(word string) bool { return strings.HasPrefix(scenario.Name, word) }
		if len(s.Words) == 0 || slices.ContainsFunc(s.Words, begins) {
			chosen = append(chosen, scenario)
		}
	}
	return chosen
}

// NeedsVersions says whether a scenario that will run needs the versions for updates.
func (s Suite) NeedsVersions() bool {
	return slices.ContainsFunc(s.chosen(), func(s Scenario) bool { return s.Updates })
}

// run is a run under way. The lab is kept from one scenario to the next, and made
// anew where a failed one has left it in a state that nothing can be done with.
type run struct {
	Suite
	image   host.Image
	lab     *Lab
	suspect bool            // the scenario before failed
	fault   bool            // in it, the emulated processor ended or spoiled a guest
	kept    bool            // the scenario before has left VMs for one that keeps them
	passed  map[string]bool // the points of this scenario that an earlier try has passed
}

// tries is how often a scenario may be begun: what fails twice has failed. What the
// emulated processor is to blame for does not count, three times at most (docs/adr/0013).
func tries(faults int) int { return 2 + min(faults, 3) }

// one runs a scenario in a lab that is ready for it.
func (r *run) one(ctx context.Context, s Scenario) (err error) {
	r.fault = false
	log, err := os.Create(filepath.Join(r.Results, s.Name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	whole := ctx
	ctx, end := context.WithTimeoutCause(whole, scenarioTime, errors.New("it took more than "+scenarioTime.String()))
	defer end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if r.lab != nil && r.suspect {
		r.lab.ctx, r.lab.script = ctx, log
		err := r.lab.alive()
		if err == nil {
			err = attempt(func() { r.lab.Ready(false, s.Updates) })
		}
		if err != nil {
			fmt.Fprintf(log, "a new lab is needed: %v\n", err)
			if err := r.end(); err != nil {
				return err
			}
		}
	}
	if r.lab == nil {
		if r.lab, err = r.boot(ctx, log); err != nil {
			return err
		}
	}
	r.lab.ctx, r.lab.script, r.lab.passed = ctx, log, r.passed
	r.lab.faults = r.lab.guestFaults()
	stop := r.lab.watch(cancel)
	err = attempt(func() { r.lab.Ready(s.Keeps && r.kept, s.Updates); s.Run(r.lab) })
	stop()
	if whole.Err() != nil {
		return errors.Join(err, context.Cause(whole))
	}
	if ctx.Err() != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	r.suspect, r.kept = err != nil, s.Keeps && err == nil
	if err != nil {
		// No scenario makes a guest's kernel panic, and banger cannot.
		r.fault = r.lab.spoiled() != nil || strings.Contains(err.Error(), "the guest's kernel panicked")
		err = fmt.Errorf("%w\n%severything it did is in %s", err, r.lab.circumstances(log), log.Name())
	}
	return err
}

// attempt runs a part of a scenario and returns why it ended.
func attempt(part func()) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = errors.New(strings.TrimRight(p.text, "\n"))
		default:
			panic(p)
		}
	}()
	part()
	return nil
}

// watch looks every minute whether there is anything left to wait for, and ends the
// scenario where there is not. The function that it returns ends the watch.
func (l *Lab) watch(end context.CancelCauseFunc) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			l.booting.Lock()
			err := l.spoiled()
			l.booting.Unlock()
			if err != nil {
				end(err)
				return
			}
		}
	}()
	return func() { close(done); <-stopped }
}

// spoiled says what the emulated processor has done to the lab or to a guest since the
// scenario began.
func (l *Lab) spoiled() error {
	if err := l.alive(); err != nil {
		return fmt.Errorf("the lab hangs: %w", err)
	}
	if l.guestFaults() > l.faults {
		return errors.New("the emulated processor has spoiled a guest")
	}
	return nil
}

// alive says whether the lab still runs programs: one whose kernel hangs would keep
// each command of a scenario for its whole time.
func (l *Lab) alive() error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(l.ctx), time.Minute, errors.New("it ran no program within a minute"))
	defer cancel()
	_, err := l.conn.Output(ctx, "true")
	return err
}

// boot makes a lab with banger installed in it.
func (r *run) boot(ctx context.Context, log io.Writer) (*Lab, error) {
	begin := time.Now()
	m, err := host.Up(ctx, r.Dir, r.image, r.Options)
	if err != nil {
		return nil, err
	}
	conn, err := m.Connect(ctx)
	if err != nil {
		return nil, errors.Join(err, m.Remove())
	}
	l := &Lab{ctx: ctx, machine: m, conn: conn, out: r.Out, script: log, driver: "firecracker"}
	if r.Options.NoFirecracker {
		l.driver = "qemu"
	}
	fmt.Fprintf(r.Out, "lab: booted in %.1f s\n", time.Since(begin).Seconds())
	begin = time.Now()
	err = attempt(func() {
		l.Run("test ! -x /lab/bin/firecracker || cp /lab/bin/firecracker /lab/bin/jailer /usr/local/bin/")
		l.Run(traceEnds)
		l.first = l.Run(hostState)
		l.Install()
	})
	if err != nil {
		err = fmt.Errorf("cannot install the build in the lab: %w\n%s", err, l.circumstances(log))
		conn.Close()
		return nil, errors.Join(err, m.Remove())
	}
	fmt.Fprintf(r.Out, "lab: installed in %.1f s\n", time.Since(begin).Seconds())
	return l, nil
}

// end ends the lab.
func (r *run) end() error {
	if r.lab == nil {
		return nil
	}
	l := r.lab
	r.lab = nil
	l.conn.Close()
	return l.machine.Remove()
}

// traceEnds has the lab's kernel record what can end a VMM: who sent which signal, and
// that a guest reset itself, by the keyboard controller (SVM_EXIT_IOIO at port 0x64) or
// by a triple fault (KVM_EXIT_SHUTDOWN). And it counts how often a guest was at the
// address from which the lab's kernel enters guests: the emulated processor takes the
// lab's state for the guest's now and then, which hangs from there on (docs/adr/0013).
const traceEnds = `set -e; cd /sys/kernel/tracing/events || { mount -t tracefs tracefs /sys/kernel/tracing; cd /sys/kernel/tracing/events; }
echo 'sig == 9 || sig == 15' > signal/signal_generate/filter; echo 1 > signal/signal_generate/enable
modprobe kvm_amd
echo 'exit_reason == 0x7b && info1 >= 0x640000 && info1 < 0x650000' > kvm/kvm_exit/filter; echo 1 > kvm/kvm_exit/enable
echo 'reason == 8' > kvm/kvm_userspace_exit/filter; echo 1 > kvm/kvm_userspace_exit/enable
entry=0x$(grep -m1 ' __svm_vcpu_run' /proc/kallsyms | cut -d' ' -f1)
printf 'hist:keys=vcpu_id if guest_rip >= 0x%x && guest_rip < 0x%x\n' $((entry)) $((entry + 0x200)) > kvm/kvm_exit/trigger`

// guestFaults counts what the emulated processor did to guests since the lab booted, as
// far as is known: triple faults (a guest's own reset goes by the keyboard controller),
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

// circumstances is what the daemons said last. The whole journal goes to log.
func (l *Lab) circumstances(log io.Writer) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), time.Minute)
	defer cancel()
	if err := l.alive(); err != nil {
		return l.ended(err)
	}
	var text bytes.Buffer
	for _, command := range []string{
		"journalctl -b --no-pager -o short-precise -n 10 -u bangerd", "journalctl -b --no-pager -o short-precise -n 10 -u bangerd-root",
	} {
		out, err := l.conn.Output(ctx, "sh", "-c", command)
		if err != nil {
			fmt.Fprintf(&text, "cannot read the journal: %v\n", err)
			return text.String()
		}
		fmt.Fprintf(&text, "$ %s\n%s", command, out)
	}
	if all, err := l.conn.Output(ctx, "sh", "-c", "systemctl --failed --no-pager; journalctl --no-pager -o short-precise; for f in /var/lib/banger/data/vms/*/*.log; do echo \"== $f\"; tail -n 50 $f; done; cat /proc/uptime; tail -n 200 /sys/kernel/tracing/trace; ps -eLo pid,tid,stat,time,wchan:20,comm; sleep 2; ps -eLo tid,stat,time,comm | grep fc_; cat /sys/kernel/tracing/events/kvm/kvm_exit/hist"); err == nil {
		fmt.Fprintf(log, "\n%s", all)
	}
	return text.String()
}

// ended is what there is to say of a lab that does not answer any more, and why: nothing
// of ours ends one, so that it was its kernel, or the emulated processor.
func (l *Lab) ended(why error) string {
	const lines = 200 // an oops, and what follows it
	said, err := console.Tail(l.machine.Console(), lines)
	if err != nil {
		return fmt.Sprintf("the lab host is gone (%v), and its console cannot be read: %v\n", why, err)
	}
	return fmt.Sprintf("the lab host is gone (%v); its console said last:\n%s\n", why, console.Sanitize(string(said)))
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("     " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}
