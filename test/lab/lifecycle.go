package lab

import (
	"fmt"
	"strconv"
	"strings"

	"banger/internal/vmid"
)

// lifecycle: create, exec, stop, start; each start is another boot.
func lifecycle(l *Lab) {
	l.Dev("banger vm create %s --driver %s --name web", start, l.driver)
	vm := l.VM("web")
	l.Equal("the state after create", string(vm.State), "stopped")
	l.Equal("the driver", vm.Driver, l.driver)
	l.Boot("web", "banger vm start web")
	l.StartCounter("web")
	first := l.Fingerprint("web")
	l.Equal("how it is accelerated", l.VM("web").Accel, "kvm")
	if first.Device == "" && l.VM("web").DiskDriver == "dm-snapshot" {
		l.Failf("VM web has no device %s", vmid.Device(vm.ID))
	}
	l.Contains("the VMM's cgroup", l.Run("cat /proc/%d/cgroup", first.PID), "/"+vmid.Slice+"/"+vmid.Unit(vm.ID))
	for status, script := range map[int]string{0: "true", 42: "exit 42", 137: "kill -9 $$"} {
		r := l.TryDev("banger vm exec web -- sh -c %s", Quote(script))
		l.Equal("the status of "+script, r.Status, status)
	}
	l.Equal("the status of a program that does not exist", l.TryDev("banger vm exec web -- nonesuch").Status, 127)
	l.Equal("standard error of the guest", l.Dev("banger vm exec web -- sh -c 'echo out; echo err >&2' 2>&1 >/dev/null"), "err")
	l.Equal("standard input in the guest", l.Dev("echo hello | banger vm exec web -- cat"), "hello")
	l.Contains("the console's log", l.Dev("banger vm logs web"), "banger")

	l.Guest("web", "echo kept > /kept; sync")
	l.Boot("web", "banger vm restart web")
	l.Equal("what was written before the restart", l.Guest("web", "cat /kept"), "kept")
	if again := l.VM("web"); again.BootID == first.BootID || again.PID == first.PID {
		l.Failf("a restart is not a new boot: %+v", again)
	}
	l.Dev("banger vm stop web")
	l.Equal("the state after stop", string(l.VM("web").State), "stopped")
	l.gone(vm.ID)
	l.NoLeaks()
}

// grow: a stopped VM's disk grows with its file system, and keeps what it has.
func grow(l *Lab) {
	l.Start("web")
	l.Guest("web", "echo kept > /kept; sync")
	l.Contains("what a running VM gets", l.TryDev("banger vm set web --disk 9G").Output, "at its next start")
	l.Dev("banger vm stop web")
	id := l.VM("web").ID
	l.Dev("banger vm set web --disk 10G --memory 192M")
	l.Fails("banger vm set web --disk 9G", "smaller")
	for range 2 { // the second start is one from the disk's own base
		l.Boot("web", "banger vm start web")
		l.Equal("what was there before it grew", l.Guest("web", "cat /kept"), "kept")
		size := l.Guest("web", "busybox df -k / | busybox awk 'END { print $2 }'")
		if kib, err := strconv.Atoi(size); err != nil || kib < 9<<20 {
			l.Failf("the file system of a disk of 10 GiB has %s KiB", size)
		}
		l.Guest("web", "busybox dd if=/dev/zero of=/large bs=1M count=96 2>/dev/null; sync; rm /large")
		l.Dev("banger vm stop web")
		l.gone(id)
	}
	l.Dev("banger vm delete web")
	l.NoLeaks()
}

// files: copies in and out, exactly, and trees.
func files(l *Lab) {
	l.Start("web")
	l.Dev("rm -rf work && mkdir -p work/tree/sub && cd work && head -c 5000000 /dev/urandom > tree/sub/data && echo one > tree/one && ln -s one tree/link && chmod 600 tree/one")
	l.Dev("cd work && banger vm cp tree web:/ && banger vm cp web:/tree back && diff -r tree back && test $(stat -c %a back/one) = 600 && test $(readlink back/link) = one")
	want := l.Dev("sha256sum < work/tree/sub/data")
	l.Equal("the digest in the guest", l.Guest("web", "sha256sum < /tree/sub/data"), want)
	l.Equal("the digest through exec", l.Dev("banger vm exec web -- cat /tree/sub/data | sha256sum"), want)
	l.Fails("banger vm cp nonesuch web:/", "nonesuch")
	l.Fails("banger vm cp web:/nonesuch .", "nonesuch")
}

// killDeletePrune: a killed VM leaves nothing, and no other VM is affected.
func killDeletePrune(l *Lab) {
	l.Start("other")
	other := l.Fingerprint("other")
	l.Start("web")
	vm := l.VM("web")
	l.Guest("web", "echo kept > /kept; sync")
	l.Dev("banger vm kill web")
	l.Equal("the state after kill", string(l.VM("web").State), "stopped")
	l.gone(vm.ID)
	l.Boot("web", "banger vm start web")
	l.Equal("what was synced before the kill", l.Guest("web", "cat /kept"), "kept")
	l.Fails("banger vm delete web", "running")
	l.Dev("banger vm delete --force web")
	l.gone(vm.ID)
	l.Run("test ! -e /var/lib/banger/data/vms/%s", vm.ID)

	// A VMM that dies is noticed.
	l.Start("web")
	vm = l.VM("web")
	l.Run("kill -9 %d", vm.PID)
	l.Wait("the killed VM is stopped", func() bool { return l.VM("web").State == "stopped" })
	if l.VM("web").Reason == "" {
		l.Failf("nothing says why VM web stopped")
	}
	l.gone(vm.ID)
	l.Dev("banger vm prune")
	l.Equal("how many VMs prune left", len(l.VMs()), 1)
	l.Unharmed("other", other)
	l.NoLeaks()
}

// parallel: five VMs start at the same time, each with its own identity.
func parallel(l *Lab) {
	const count = 5
	l.Dev("for i in $(seq %d); do banger vm create %s --driver %s --name vm$i --start >log$i 2>&1; echo $? >status$i & done; wait", count, start, l.driver)
	for i := range count {
		name := fmt.Sprintf("vm%d", i+1)
		l.Boot(name, fmt.Sprintf("cat log%d; exit $(cat status%d)", i+1, i+1))
	}
	boots := map[string]bool{}
	for i := range count {
		name := fmt.Sprintf("vm%d", i+1)
		l.Equal("the host name of "+name, l.Guest(name, "hostname"), name)
		boots[l.VM(name).BootID] = true
	}
	l.Equal("the number of boots", len(boots), count)
	l.NoLeaks()
	l.Dev("banger vm delete --force --all")
	l.Equal("the number of VMs", len(l.VMs()), 0)
	l.NoLeaks()
}

// jail: the properties of Firecracker's jail: its own user, root directory and network
// namespace.
func jail(l *Lab) {
	l.Start("web")
	l.Start("db")
	web, db := l.VM("web"), l.VM("db")
	uid := func(pid int) string { return l.Run("stat -c %%u:%%g /proc/%d", pid) }
	if uid(web.PID) == uid(db.PID) || strings.HasPrefix(uid(web.PID), "0:") || strings.HasPrefix(uid(web.PID), "1000:") {
		l.Failf("the VMMs run as %s and %s", uid(web.PID), uid(db.PID))
	}
	l.Equal("the VMM's name", l.Run("cat /proc/%d/comm", web.PID), "firecracker")
	// The link reads "/": the jailer has pivoted to it (pivot_root(2)).
	l.Run("test /proc/%d/root/ -ef /var/lib/banger/jails/firecracker/%s/root/", web.PID, web.ID)
	if l.Run("readlink /proc/%d/ns/net", web.PID) == l.Run("readlink /proc/1/ns/net") {
		l.Failf("the VMM is in the host's network namespace")
	}
	l.Contains("the VMM's seccomp mode", l.Run("grep Seccomp: /proc/%d/status", web.PID), "2")
	l.Contains("the VMM's capabilities", l.Run("grep CapEff /proc/%d/status", web.PID), "0000000000000000")
}
