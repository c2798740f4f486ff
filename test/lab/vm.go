package lab

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"banger/api"
	"banger/internal/vmid"
)

// start are the options of scenarios' VMs: small, so that a handful fit into the lab.
const start = "--image tiny --memory 160M --vcpu 1"

// vms are the VMs of the owner, and what the host holds for them.
type vms struct {
	checks *checks
	shell  *shell
	driver string // of the VMs that scenarios make
}

// Firecracker reports whether VMs run on Firecracker rather than on QEMU.
func (v *vms) Firecracker() bool { return v.driver == "firecracker" }

// counter grows in the guest as long as the guest is undisturbed. A file that is
// appended to always has a size, unlike one that is rewritten.
const counter = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done >> /counter"

// Start makes a VM, starts it, and starts a counter in it.
func (v *vms) Start(name string) {
	v.Boot(name, fmt.Sprintf("banger vm create %s --driver %s --name %s --start", start, v.driver, name))
	v.StartCounter(name)
}

// fell is banger's message about a guest that reset itself before it answered.
const fell = "its VMM ended while the guest booted"

// Boot runs a command of the owner that boots a VM. Occasionally a guest resets itself
// in early boot, without any output on its console, not even a panic: KVM in an
// emulated processor (seen with QEMU 7.2) causes that. It gets a second try, and the
// run reports it.
func (v *vms) Boot(name, command string) {
	r := v.shell.TryDev("%s", command)
	if r.Status != 0 && strings.Contains(r.Output, fell) && !strings.Contains(r.Output, "panic") {
		v.checks.Note("the guest %s reset itself while it booted; started again", name)
		r = v.shell.TryDev("banger vm start %s", name)
	}
	v.shell.must(r)
}

// Have starts a VM if the previous scenario has not left it.
func (v *vms) Have(name string) {
	for _, vm := range v.VMs() {
		if vm.Name == name && vm.State == api.StateRunning {
			return
		}
	}
	v.shell.TryDev("banger vm delete --force %s", name)
	v.Start(name)
}

// StartCounter starts the counter that Fingerprint reads.
func (v *vms) StartCounter(name string) {
	v.Guest(name, fmt.Sprintf("busybox setsid sh -c '%s' </dev/null >/dev/null 2>&1 &", counter))
}

// Guest runs a shell command in a VM, which has to succeed, and returns its output.
func (v *vms) Guest(name, command string) string {
	return v.shell.Dev("banger vm exec %s -- sh -c %s", name, Quote(command))
}

// ask is Guest for a guest that may answer later than banger's timeout: a guest
// emulated in a busy emulated machine may pause for seconds without harm.
func (v *vms) ask(name, command string) string {
	const slow = 2 * time.Minute
	for begin := time.Now(); ; {
		r := v.shell.TryDev("banger vm exec %s -- sh -c %s", name, Quote(command))
		if r.Status == 0 || !strings.Contains(r.Output, "does not answer") || time.Since(begin) > slow {
			return v.shell.must(r)
		}
		v.checks.Note("the guest %s has not answered for %.0f s", name, time.Since(begin).Seconds())
	}
}

// Quote quotes a word for the shell.
func Quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// VM returns the output of `banger vm show --json`.
func (v *vms) VM(name string) api.VM {
	var doc struct {
		VM api.VM `json:"vm"`
	}
	v.decode(v.shell.Dev("banger vm show --json %s", name), &doc)
	return doc.VM
}

// VMs returns the output of `banger vm list --json`.
func (v *vms) VMs() []api.VM {
	var doc struct {
		VMs []api.VM `json:"vms"`
	}
	v.decode(v.shell.Dev("banger vm list --json"), &doc)
	return doc.VMs
}

func (v *vms) decode(text string, doc any) {
	if err := json.Unmarshal([]byte(text), doc); err != nil {
		v.checks.Failf("this is not JSON of banger: %v\n%s", err, text)
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
func (v *vms) Fingerprint(name string) Fingerprint {
	vm := v.VM(name)
	if vm.State != api.StateRunning || vm.PID == 0 {
		v.checks.Failf("VM %s is %s with pid %d, not running: %s", name, vm.State, vm.PID, vm.Reason)
	}
	f := Fingerprint{PID: vm.PID}
	kernel := strings.SplitN(v.shell.Run("cat /proc/%d/stat; dmsetup info -c --noheadings -o major,minor --separator : %s 2>/dev/null || true", vm.PID, vmid.Device(vm.ID)), "\n", 2)
	// The second field, the name, may contain anything (proc_pid_stat(5)).
	stat := strings.Fields(kernel[0][strings.LastIndexByte(kernel[0], ')')+1:])
	if len(stat) <= 22-3 {
		v.checks.Failf("the VMM of VM %s has ended: process %d does not exist", name, vm.PID)
	}
	f.StartTime = stat[22-3]
	if len(kernel) == 2 {
		f.Device = kernel[1]
	}
	answer := strings.Fields(v.ask(name, "cat /proc/sys/kernel/random/boot_id; wc -l < /counter"))
	if len(answer) != 2 {
		v.checks.Failf("the guest %s has no counter: %q", name, answer)
	}
	f.BootID = answer[0]
	f.Counter, _ = strconv.Atoi(answer[1])
	v.checks.Equal("banger's boot id of "+name, vm.BootID, f.BootID)
	return f
}

// Unharmed ends the scenario if a VM was disturbed since before: it must be the same
// boot in the same process on the same disk, and its loop continues.
func (v *vms) Unharmed(name string, before Fingerprint) {
	now := v.Fingerprint(name)
	v.checks.Wait("the counter in "+name+" grows", func() bool {
		if now.Counter > before.Counter {
			return true
		}
		now = v.Fingerprint(name)
		return false
	})
	same := before
	same.Counter = now.Counter
	if now != same {
		v.checks.Failf("VM %s was harmed:\n  before %+v\n  now    %+v", name, before, now)
	}
}

// NoLeaks ends the scenario if the host has objects without a VM, or lacks objects of a
// VM.
func (v *vms) NoLeaks() {
	if r := v.shell.TryDev("banger doctor --leaks"); r.Status != 0 {
		v.checks.Failf("banger doctor --leaks: status %d\n%s", r.Status, r.Output)
	}
}

// DeleteAll deletes every VM.
func (v *vms) DeleteAll() { v.shell.Dev("banger vm delete --force --all") }

// gone ends the scenario if the host still has objects of a stopped VM.
func (v *vms) gone(id string) {
	held := v.shell.Run("dmsetup ls --target snapshot; ip netns; ip -o link; systemctl list-units --all --no-legend 'banger-vm-*'")
	if strings.Contains(held, id) {
		v.checks.Failf("the host still has objects of VM %s:\n%s", id, held)
	}
}

// atRest waits until no operation runs on any VM.
func (v *vms) atRest() {
	v.checks.Wait("no operation runs on a VM", func() bool {
		r := v.shell.TryDev("banger vm list --json")
		busy := strings.Contains(r.Output, `"creating"`)
		return r.Status == 0 && !busy && v.operations() == 0
	})
	for _, vm := range v.VMs() {
		if !slices.Contains([]api.State{api.StateStopped, api.StateRunning, api.StateFailed}, vm.State) {
			v.checks.Failf("VM %s is %s", vm.Name, vm.State)
		}
	}
}

// operations counts the running operations.
func (v *vms) operations() int {
	text := v.shell.Run(`printf 'GET /v1/operations HTTP/1.0\r\nHost: localhost\r\n\r\n' | nc -NU /run/banger/bangerd.sock`)
	return strings.Count(text, `"running"`)
}
