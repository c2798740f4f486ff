package lab

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"banger/api"
	"banger/internal/vmid"
)

// start are the options of scenarios' VMs: small, so that a handful fit into the lab.
const start = "--image tiny --memory 160M --vcpu 1"

// counter grows in the guest as long as the guest is undisturbed. A file that is
// appended to always has a size, unlike one that is rewritten.
const counter = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done >> /counter"

// Start makes a VM, starts it, and starts a counter in it.
func (l *Lab) Start(name string) {
	l.Boot(name, fmt.Sprintf("banger vm create %s --driver %s --name %s --start", start, l.driver, name))
	l.StartCounter(name)
}

// fell is banger's message about a guest that reset itself before it answered.
const fell = "its VMM ended while the guest booted"

// Boot runs a command of the owner that boots a VM. Occasionally a guest resets itself
// in early boot, without any output on its console, not even a panic: KVM in an
// emulated processor (seen with QEMU 7.2) causes that. It gets a second try, and the
// run reports it.
func (l *Lab) Boot(name, command string) {
	r := l.TryDev("%s", command)
	if r.Status != 0 && strings.Contains(r.Output, fell) && !strings.Contains(r.Output, "panic") {
		l.Note("the guest %s reset itself while it booted; started again", name)
		r = l.TryDev("banger vm start %s", name)
	}
	l.must(r)
}

// Have starts a VM if the previous scenario has not left it.
func (l *Lab) Have(name string) {
	for _, vm := range l.VMs() {
		if vm.Name == name && vm.State == api.StateRunning {
			return
		}
	}
	l.TryDev("banger vm delete --force %s", name)
	l.Start(name)
}

// StartCounter starts the counter that Fingerprint reads.
func (l *Lab) StartCounter(name string) {
	l.Guest(name, fmt.Sprintf("busybox setsid sh -c '%s' </dev/null >/dev/null 2>&1 &", counter))
}

// Guest runs a shell command in a VM, which has to succeed, and returns its output.
func (l *Lab) Guest(name, command string) string {
	return l.Dev("banger vm exec %s -- sh -c %s", name, Quote(command))
}

// ask is Guest for a guest that may answer later than banger's timeout: a guest
// emulated in a busy emulated machine may pause for seconds without harm.
func (l *Lab) ask(name, command string) string {
	const slow = 2 * time.Minute
	for begin := time.Now(); ; {
		r := l.TryDev("banger vm exec %s -- sh -c %s", name, Quote(command))
		if r.Status == 0 || !strings.Contains(r.Output, "does not answer") || time.Since(begin) > slow {
			return l.must(r)
		}
		l.Note("the guest %s has not answered for %.0f s", name, time.Since(begin).Seconds())
	}
}

// Quote quotes a word for the shell.
func Quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// VM returns the output of `banger vm show --json`.
func (l *Lab) VM(name string) api.VM {
	var doc struct {
		VM api.VM `json:"vm"`
	}
	l.decode(l.Dev("banger vm show --json %s", name), &doc)
	return doc.VM
}

// VMs returns the output of `banger vm list --json`.
func (l *Lab) VMs() []api.VM {
	var doc struct {
		VMs []api.VM `json:"vms"`
	}
	l.decode(l.Dev("banger vm list --json"), &doc)
	return doc.VMs
}

func (l *Lab) decode(text string, v any) {
	if err := json.Unmarshal([]byte(text), v); err != nil {
		l.Failf("this is not JSON of banger: %v\n%s", err, text)
	}
}

// Fingerprint identifies the state of a VM, to detect whether it was disturbed.
type Fingerprint struct {
	BootID    string // of the guest's kernel, asked in the guest
	PID       int    // of the VMM
	StartTime string // of the VMM, field 22 of /proc/PID/stat
	Device    string // of the disk, major:minor; empty without a snapshot
	Counter   int    // of the guest's loop, which only grows
}

// Fingerprint takes a VM's fingerprint.
func (l *Lab) Fingerprint(name string) Fingerprint {
	vm := l.VM(name)
	if vm.State != api.StateRunning || vm.PID == 0 {
		l.Failf("VM %s is %s with pid %d, not running: %s", name, vm.State, vm.PID, vm.Reason)
	}
	f := Fingerprint{PID: vm.PID}
	kernel := strings.SplitN(l.Run("cat /proc/%d/stat; dmsetup info -c --noheadings -o major,minor --separator : %s 2>/dev/null || true", vm.PID, vmid.Device(vm.ID)), "\n", 2)
	// The second field, the name, may contain anything (proc_pid_stat(5)).
	stat := strings.Fields(kernel[0][strings.LastIndexByte(kernel[0], ')')+1:])
	if len(stat) <= 22-3 {
		l.Failf("the VMM of VM %s has ended: process %d does not exist", name, vm.PID)
	}
	f.StartTime = stat[22-3]
	if len(kernel) == 2 {
		f.Device = kernel[1]
	}
	answer := strings.Fields(l.ask(name, "cat /proc/sys/kernel/random/boot_id; wc -l < /counter"))
	if len(answer) != 2 {
		l.Failf("the guest %s has no counter: %q", name, answer)
	}
	f.BootID = answer[0]
	f.Counter, _ = strconv.Atoi(answer[1])
	l.Equal("banger's boot id of "+name, vm.BootID, f.BootID)
	return f
}

// Unharmed ends the scenario if a VM was disturbed since before: it must be the same
// boot in the same process on the same disk, and its loop continues.
func (l *Lab) Unharmed(name string, before Fingerprint) {
	now := l.Fingerprint(name)
	l.Wait("the counter in "+name+" grows", func() bool {
		if now.Counter > before.Counter {
			return true
		}
		now = l.Fingerprint(name)
		return false
	})
	same := before
	same.Counter = now.Counter
	if now != same {
		l.Failf("VM %s was harmed:\n  before %+v\n  now    %+v", name, before, now)
	}
}

// NoLeaks ends the scenario if the host has objects without a VM, or lacks objects of a
// VM.
func (l *Lab) NoLeaks() {
	if r := l.TryDev("banger doctor --leaks"); r.Status != 0 {
		l.Failf("banger doctor --leaks: status %d\n%s", r.Status, r.Output)
	}
}

// Answering waits until both daemons answer.
func (l *Lab) Answering() {
	l.Wait("the daemons answer", func() bool {
		return l.TryDev("systemctl -q is-active bangerd bangerd-root && banger vm list >/dev/null").Status == 0
	})
}

// DeleteAll deletes every VM.
func (l *Lab) DeleteAll() { l.Dev("banger vm delete --force --all") }
