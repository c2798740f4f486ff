package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/daemonstart"
	"banger/internal/paths"
	"banger/internal/rootapi"
	"banger/internal/system/record"
)

// Measurements of system mode, as root on a machine where it is installed and has a
// kernel. Nothing else may use banger there at the same time.
const (
	labImage   = "bench-busybox"
	labMemory  = 256 << 20
	labDisk    = 256 << 20
	labRecords = 50 // stopped VMs that a restarted daemon finds
	labGuests  = 3  // running VMs that it finds
	labHellos  = 1000
	restarts   = 3

	// labLifecycles bounds the rounds, and labTime the whole run.
	labLifecycles = 5 * time.Minute
	labTime       = 11 * time.Minute
)

// lab is one run in a lab.
type lab struct {
	client *client.Client
	helper *rootapi.Client
	record record.Record
	rounds int

	bare   labBare
	report labReport
}

// labReport is the result of a run; times are in milliseconds, sizes in KiB.
type labReport struct {
	When    time.Time `json:"when"`
	Version string    `json:"version"`
	Kernel  string    `json:"kernel"`
	Guest   string    `json:"guest_kernel"`
	VMM     string    `json:"vmm"`
	Disk    string    `json:"disk_driver"`
	CPUs    int       `json:"cpus"`
	Load    [2]string `json:"load"`
	Took    float64   `json:"took_seconds"`

	Samples map[string][]float64 `json:"samples_ms"`
	KiB     map[string]int64     `json:"kib"`
	Unit    map[string]string    `json:"unit"`
	Native  map[string][]float64 `json:"native_us,omitempty"`
	Notes   []string             `json:"notes,omitempty"`
	ByHand  []handNote           `json:"notes_by_hand,omitempty"`

	NativeLoad string `json:"native_load,omitempty"`
}

func (r *labReport) add(name string, d time.Duration) {
	r.Samples[name] = append(r.Samples[name], float64(d.Nanoseconds()/1000)/1000)
}

// runLab measures system mode on this machine and writes the result to a file.
func runLab(ctx context.Context, rounds int, file string) error {
	installed, err := record.Read(paths.InstallRecord)
	if err != nil {
		return err
	}
	began := time.Now()
	l := &lab{
		client: daemonstart.System(), record: installed, rounds: rounds,
		helper: &rootapi.Client{Socket: paths.RootSocket, Version: "bench", Patience: 10 * time.Second},
		report: labReport{
			When: began.UTC().Truncate(time.Second), Version: installed.Version,
			Samples: map[string][]float64{}, KiB: map[string]int64{}, Unit: map[string]string{},
		},
	}
	l.report.CPUs, l.report.Kernel, l.report.Load[0] = runtime.NumCPU(), release(), load()
	ctx, cancel := context.WithTimeoutCause(ctx, labTime, errors.New("it took too long"))
	defer cancel()
	defer l.clean()
	for _, s := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"preparing: image, one VM", l.prepare},
		{"helper round trips", l.hellos},
		{"lives, bare and by banger", l.lifecycles},
		{"restarts without VMs", l.restartsWith("0")},
		{"restarts with records", l.withRecords},
		{"restarts with guests", l.withGuests},
	} {
		fmt.Fprintln(os.Stderr, "bench:", s.what)
		if err := s.do(ctx); err != nil {
			if ctx.Err() == nil {
				return fmt.Errorf("%s: %w", s.what, err)
			}
			l.report.Notes = append(l.report.Notes, noteNoTime+s.what)
			break
		}
	}
	l.report.Load[1], l.report.Took = load(), time.Since(began).Round(time.Second).Seconds()
	data, err := json.MarshalIndent(l.report, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

func (l *lab) request(name string, start bool) api.CreateVM {
	return api.CreateVM{Name: name, Image: labImage, VCPUs: 1, MemoryBytes: labMemory, DiskBytes: labDisk, Start: start}
}

// clean removes all VMs of the run.
func (l *lab) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*cleanTime)
	defer cancel()
	all, err := l.client.VMs().List(ctx)
	for _, v := range all {
		if strings.HasPrefix(v.Name, "bench-") {
			err = errors.Join(err, l.client.VMs().Delete(ctx, v.ID, true, nil))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: cannot clean up:", err)
	}
}

// prepare imports the image, and starts a VM to find out how banger does that.
func (l *lab) prepare(ctx context.Context) error {
	if _, err := l.client.Images().Show(ctx, labImage); api.KindOf(err) == api.KindNotFound {
		return api.Errorf(api.KindNotFound, "no image named %s", labImage).WithHint("banger image import busybox.tar %s", labImage)
	}
	vm, err := l.client.VMs().Create(ctx, l.request("bench-learn", true), nil)
	if err != nil {
		return err
	}
	if err := runIn(ctx, agentOf(l.client, vm.ID), "true"); err != nil {
		return err
	}
	l.report.VMM, l.report.Disk, l.report.Guest = vm.Driver, vm.DiskDriver, vm.Kernel
	if vm.Driver == rootapi.Firecracker {
		if l.bare, err = l.learn(vm); err != nil {
			return err
		}
	} else {
		l.report.Notes = append(l.report.Notes, noteNoBare)
	}
	return l.client.VMs().Delete(ctx, vm.ID, true, nil)
}

func (l *lab) hellos(ctx context.Context) error {
	for range labHellos {
		began := time.Now()
		if _, err := l.helper.Do(ctx, rootapi.HelloCall{}, nil); err != nil {
			return err
		}
		l.report.add("hello", time.Since(began))
	}
	return nil
}

// lifecycles alternates between bare VMMs and banger's.
func (l *lab) lifecycles(ctx context.Context) error {
	began := time.Now()
	for round := range l.rounds {
		if time.Since(began) > labLifecycles {
			l.report.Notes = append(l.report.Notes, fmt.Sprintf(noteRounds, round, l.rounds))
			return nil
		}
		ways := []func(context.Context, int) error{l.bareLife, l.lifecycle}
		for i := range ways {
			if err := ways[(round+i)%len(ways)](ctx, round); err != nil {
				return err
			}
		}
	}
	return nil
}

// lifecycle is one of banger's VMs, from the request to the end of its first command.
func (l *lab) lifecycle(ctx context.Context, round int) error {
	began := time.Now()
	vm, err := l.client.VMs().Create(ctx, l.request(fmt.Sprintf("bench-%d", round), true), nil)
	if err != nil {
		return err
	}
	created := time.Now()
	if err := runIn(ctx, agentOf(l.client, vm.ID), "true"); err != nil {
		return err
	}
	done := time.Now()
	r := &l.report
	r.add("banger.total", done.Sub(began))
	r.add("banger.exec", done.Sub(created))
	own := created.Sub(began)
	for _, step := range vm.Timing {
		took := time.Duration(step.Milliseconds * float64(time.Millisecond))
		r.add("step."+step.Step, took)
		// Work that a bare one does, too: becoming Firecracker, and booting the guest.
		if step.Step == "agent" || step.Step == "vmm/vmm" {
			own -= took
		}
	}
	r.add("banger.own", own)
	began = time.Now()
	if err := l.client.VMs().Delete(ctx, vm.ID, true, nil); err != nil {
		return err
	}
	r.add("banger.delete", time.Since(began))
	return nil
}

// withRecords restarts the daemon while there are many stopped VMs.
func (l *lab) withRecords(ctx context.Context) error {
	for n := range labRecords {
		if _, err := l.client.VMs().Create(ctx, l.request(fmt.Sprintf("bench-record-%d", n), false), nil); err != nil {
			return err
		}
	}
	return l.restartsWith("records")(ctx)
}

// withGuests restarts it while some VMs run, and measures the memory.
func (l *lab) withGuests(ctx context.Context) error {
	if err := l.memory(ctx, "before"); err != nil {
		return err
	}
	var first api.VM
	for n := range labGuests {
		vm, err := l.client.VMs().Create(ctx, l.request(fmt.Sprintf("bench-guest-%d", n), true), nil)
		if err != nil {
			return err
		}
		if n == 0 {
			first = vm
		}
	}
	if err := l.guestMemory(first); err != nil {
		return err
	}
	if err := l.memory(ctx, "with guests"); err != nil {
		return err
	}
	if err := l.restartsWith("guests")(ctx); err != nil {
		return err
	}
	return runIn(ctx, agentOf(l.client, first.ID), "true")
}

// took matches a program's message about its own start in the journal.
var took = regexp.MustCompile(`msg=ready .* took=(\S+)`)

// restartsWith restarts both programs several times. Their own times are separate from
// those of systemd and of loading the program.
func (l *lab) restartsWith(what string) func(context.Context) error {
	return func(ctx context.Context) error {
		for range restarts {
			for _, unit := range []string{"bangerd-root", "bangerd"} {
				since := time.Now()
				if out, err := exec.CommandContext(ctx, "systemctl", "restart", unit).CombinedOutput(); err != nil {
					return fmt.Errorf("systemctl restart %s: %w: %s", unit, err, out)
				}
				l.report.add("restart."+unit+"."+what, time.Since(since))
				if unit == "bangerd" {
					if _, err := l.client.Daemon().Status(ctx); err != nil {
						return err
					}
				}
				if err := l.ready(ctx, unit, what, since); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func (l *lab) ready(ctx context.Context, unit, what string, since time.Time) error {
	if out, err := exec.CommandContext(ctx, "journalctl", "--sync").CombinedOutput(); err != nil {
		return fmt.Errorf("journalctl --sync: %w: %s", err, out)
	}
	out, err := exec.CommandContext(ctx, "journalctl", "-u", unit, "-o", "cat", "--since", fmt.Sprintf("@%d", since.Unix())).Output()
	if err != nil {
		return err
	}
	all := took.FindAllSubmatch(out, -1)
	if len(all) == 0 {
		return fmt.Errorf("%s did not report when it was ready", unit)
	}
	d, err := time.ParseDuration(string(all[len(all)-1][1]))
	l.report.add("ready."+unit+"."+what, d)
	return err
}

// memory measures the memory of both programs.
func (l *lab) memory(ctx context.Context, when string) error {
	status, err := l.client.Daemon().Status(ctx)
	if err != nil {
		return err
	}
	var helper rootapi.HelloAnswer
	if _, err := l.helper.Do(ctx, rootapi.HelloCall{}, &helper); err != nil {
		return err
	}
	for name, pid := range map[string]int{"bangerd": status.PID, "bangerd-root": helper.PID} {
		m, err := smaps(pid)
		if err != nil {
			return err
		}
		l.report.KiB[name+" "+when] = m.RSS
	}
	return nil
}

// guestMemory measures the memory of a VMM besides the guest's memory, and reads the
// limits of its unit.
func (l *lab) guestMemory(vm api.VM) error {
	data, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(vm.PID), "smaps"))
	if err != nil {
		return err
	}
	guest, beside := splitMemory(string(data), vm.MemoryBytes>>10)
	l.report.KiB["guest"], l.report.KiB["beside"] = guest, beside
	unit := "banger-vm-" + vm.ID + ".service"
	out, err := exec.Command("systemctl", "show", unit, "-p", "MemoryMax,MemoryCurrent,CPUQuotaPerSecUSec,TasksMax,TasksCurrent").Output()
	for line := range strings.Lines(string(out)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			l.report.Unit[name] = value
		}
	}
	return err
}

// splitMemory sums up the memory of a process (proc_pid_smaps(5)), in KiB: of mappings
// at least half as large as the guest's memory, and of all others.
func splitMemory(smaps string, guestKiB int64) (guest, beside int64) {
	var size int64
	for line := range strings.Lines(smaps) {
		var n int64
		if _, err := fmt.Sscanf(line, "Size: %d kB", &n); err == nil {
			size = n
		} else if _, err := fmt.Sscanf(line, "Rss: %d kB", &n); err == nil {
			if size >= guestKiB/2 {
				guest += n
			} else {
				beside += n
			}
		}
	}
	return guest, beside
}
