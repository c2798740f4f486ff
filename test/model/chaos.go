package model

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/driver/fake"
	"banger/test/harness/session"
)

// chaos is something that happens to banger.
type chaos struct {
	name   string
	weight int
	run    func(ctx context.Context, w *world, s *step) error
}

func disturbances() []*chaos {
	return []*chaos{
		{name: "kill -9 daemon", weight: 4, run: endDaemon(syscall.SIGKILL)},
		{name: "SIGTERM daemon", weight: 2, run: endDaemon(syscall.SIGTERM)},
		{name: "SIGSTOP daemon", weight: 1, run: stopDaemon},
		{name: "kill -9 daemon at a point", weight: 4, run: endAtPoint},
		{name: "kill -9 forwarder", weight: 2, run: killForwarder},
		{name: "full disk", weight: 2, run: fillDisk},
		{name: "settings", weight: 2, run: setMemory},
		{name: "run --rm", weight: 2, run: runLeased},
	}
}

// endDaemon sends the daemon a signal that it ends of, and waits until it has.
func endDaemon(sig syscall.Signal) func(context.Context, *world, *step) error {
	return func(ctx context.Context, w *world, s *step) error {
		time.Sleep(s.delay)
		return w.kills.during(func() error {
			daemon, err := w.daemon()
			if err != nil || daemon == 0 {
				return err
			}
			if err := syscall.Kill(daemon, sig); err != nil {
				return ignoreGone(err)
			}
			return gone(ctx, daemon)
		})
	}
}

// stopDaemon has the daemon stand still for a while.
func stopDaemon(_ context.Context, w *world, s *step) error {
	time.Sleep(s.delay)
	daemon, err := w.daemon()
	if err != nil || daemon == 0 {
		return err
	}
	if err := syscall.Kill(daemon, syscall.SIGSTOP); err != nil {
		return ignoreGone(err)
	}
	time.Sleep(s.lasts)
	return ignoreGone(syscall.Kill(daemon, syscall.SIGCONT))
}

// points are moments of operations (internal/faultpoint).
var points = func() (all []string) {
	for kind, steps := range map[string][]string{
		"vm.create": {"kernel", "image", "disk", "ready"}, "vm.run": {"kernel", "image", "disk", "ports", "vmm", "agent"},
		"vm.start": {"ports", "vmm", "agent"}, "vm.stop": {"shutdown"}, "vm.kill": {"kill"}, "vm.restart": {"shutdown", "ports", "vmm", "agent"},
		"vm.delete": {"kill", "disk", "record"}, "vm.commit": {"image"}, "vm.prune": {"prune"}, "image.prune": {"prune"},
	} {
		for _, step := range steps {
			all = append(all, kind+" "+step+" before", kind+" "+step+" after", kind+" "+step+" undo")
		}
	}
	slices.Sort(all)
	return all
}()

// pointTime is how long the daemon is given to come to a point.
const pointTime = 500 * time.Millisecond

// endAtPoint has the daemon die at one point of one operation, if one comes there.
func endAtPoint(_ context.Context, w *world, s *step) error {
	return w.kills.during(func() error {
		if err := os.WriteFile(w.points, []byte(points[s.dice%uint64(len(points))]), 0o600); err != nil {
			return err
		}
		for end := time.Now().Add(pointTime); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(w.points); err != nil {
				time.Sleep(20 * time.Millisecond) // it is about to die
				w.tally.count("daemon died at a point")
				return nil
			}
		}
		if err := os.Remove(w.points); err != nil {
			w.tally.count("daemon died at a point")
			time.Sleep(20 * time.Millisecond)
		}
		return nil
	})
}

// killForwarder kills one of the forwarders of published ports.
func killForwarder(_ context.Context, w *world, s *step) error {
	time.Sleep(s.delay)
	all, err := session.Processes(w.home)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(p session.Process) bool { return !isForwarder(p) })
	if len(all) == 0 {
		return nil
	}
	w.tally.count("forwarder died")
	return ignoreGone(syscall.Kill(all[s.dice%uint64(len(all))].PID, syscall.SIGKILL))
}

func isForwarder(p session.Process) bool { return len(p.Args) == 5 && p.Args[1] == "banger-forwarder" }

// afterFull is how long work that met a full disk may still be undoing what it did. A
// request that comes meanwhile may join that work, such as the making of a sized image, and
// gets its error.
const afterFull = 200 * time.Millisecond

// fillDisk takes all room there is for a while, or all but a little.
func fillDisk(_ context.Context, w *world, s *step) error {
	if !w.small {
		return nil
	}
	w.filling.Lock()
	defer w.filling.Unlock()
	return w.fills.during(func() error {
		name := filepath.Join(w.home, "fill")
		defer time.Sleep(afterFull)
		defer os.Remove(name)
		f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		for _, size := range []int{1 << 20, 4 << 10} {
			for block := make([]byte, size); err == nil; {
				_, err = f.Write(block)
			}
			if !errors.Is(err, syscall.ENOSPC) {
				return err
			}
			err = nil
		}
		if pages := int64(s.dice % 64); s.dice&64 != 0 { // a little room
			if at, err := f.Seek(0, io.SeekEnd); err == nil {
				_ = f.Truncate(max(0, at-pages*4096))
			}
		}
		time.Sleep(s.lasts)
		return nil
	})
}

func ignoreGone(err error) error {
	if err == syscall.ESRCH {
		return nil
	}
	return err
}

// gone waits until a process has ended.
func gone(ctx context.Context, pid int) error {
	for end := time.Now().Add(hung); session.Alive(pid); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("process %d does not end", pid)
		}
	}
	return nil
}

// daemon is the process id of the daemon, ready or not; 0 if there is none.
func (w *world) daemon() (int, error) {
	all, err := session.Processes(w.home)
	if err != nil {
		return 0, err
	}
	return daemonOf(all), nil
}

// daemonOf is the daemon among processes, 0 for none. What it has forked looks as the daemon
// does until it executes another program.
func daemonOf(all []session.Process) int {
	daemons := map[int]bool{}
	for _, p := range all {
		daemons[p.PID] = isDaemon(p)
	}
	for _, p := range all {
		if isDaemon(p) && !daemons[p.Parent] {
			return p.PID
		}
	}
	return 0
}

func isDaemon(p session.Process) bool {
	return filepath.Base(p.Args[0]) == "bangerd" && len(p.Args) == 1
}

// vmms are the VMMs that run, by the ids of their VMs.
func vmms(all []session.Process) map[string]int {
	found := map[string]int{}
	for _, p := range all {
		if id := vmmOf(p); id != "" {
			found[id] = p.PID
		}
	}
	return found
}

var vmDir = regexp.MustCompile(`/vms/([0-9a-f]{12})/`)

// vmmOf is the id of the VM whose VMM a process is, empty if it is none.
func vmmOf(p session.Process) string {
	if len(p.Args) > 4 && p.Args[1] == "banger-fake-guest" {
		return strings.TrimPrefix(p.Args[2], "id=")
	}
	if strings.HasPrefix(filepath.Base(p.Args[0]), "qemu-system-") {
		if found := vmDir.FindStringSubmatch(strings.Join(p.Args, " ")); found != nil {
			return found[1]
		}
	}
	return ""
}

// rootDir is what a fake guest takes for its file system.
const rootDir = fake.RootDir

// opKillVMM is an operation, as it changes the state of a VM.
func opKillVMM() *operation {
	return &operation{
		name: "kill -9 VMM", weight: 3,
		run: func(ctx context.Context, w *world, s *step) outcome {
			time.Sleep(s.delay)
			v, err := w.client.VMs().Show(ctx, w.vmName(s.track, s.name))
			if err != nil || v.PID == 0 {
				return outcome{}
			}
			all, err := session.Processes(w.paths.VM(v.ID))
			if err != nil {
				return outcome{err: api.AsError(err)}
			}
			pid := vmms(all)[v.ID]
			if pid == 0 || pid != v.PID || syscall.Kill(pid, syscall.SIGKILL) != nil {
				return outcome{}
			}
			for ctx.Err() == nil {
				now, err := w.client.VMs().Show(ctx, v.ID)
				if now.PID != pid || api.KindOf(err) == api.KindNotFound {
					return outcome{names: []string{v.Name}}
				}
				time.Sleep(3 * time.Millisecond)
			}
			return outcome{err: api.Errorf(api.KindTimeout, "the daemon does not notice that VMM %d is dead", pid)}
		},
		done: func(s state, e *event) []state {
			if len(e.out.names) == 0 {
				return only(s.vm[e.name].phase != running || len(e.beside) > 0, s)
			}
			var all []state
			if len(e.beside) > 0 { // it may have been killed over its start, or its end
				all = append(all, s)
			}
			for _, name := range e.names() {
				all = append(all, only(s.vm[name].phase == running, s.in(name, stopped))...)
			}
			return all
		},
		failed: func(state, *event) []state { return nil },
	}
}
