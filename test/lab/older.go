package lab

// older: a VM whose VMM runs in the helper's own cgroup, as in the older layout,
// survives a restart of the helper by KillMode=process, and is found again without
// handles.json: by its pidfile under Firecracker, by the cgroup under QEMU.
func older(l *Lab) {
	l.Start("web")
	web := l.Fingerprint("web")
	vm := l.VM("web")
	l.Run("echo %d > /sys/fs/cgroup/system.slice/bangerd-root.service/cgroup.procs", vm.PID)
	if l.Firecracker() {
		// Older jailers write it only into their own pid namespace.
		l.Run("cd /var/lib/banger/jails/firecracker/%s/root && { test -e firecracker.pid || echo %d > firecracker.pid; }", vm.ID, vm.PID)
	}
	for _, what := range []string{"systemctl restart bangerd-root", "systemctl restart bangerd", "systemctl kill --signal=KILL --kill-whom=main bangerd-root"} {
		l.Run("rm -f /var/lib/banger/data/vms/%s/handles.json", vm.ID)
		l.Run(what)
		l.Answering()
		l.Contains("the VMM's cgroup", l.Run("cat /proc/%d/cgroup", web.PID), "bangerd-root.service")
		l.Unharmed("web", web)
	}
	l.Dev("banger vm stop web")
	l.gone(vm.ID)
	l.NoLeaks()
	l.Run("test ! -e /proc/%d", web.PID)
}
