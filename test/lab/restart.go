package lab

import "fmt"

// restarts returns the scenario in which the daemons are restarted while two VMs run:
// the VMs are unharmed, and can be used as before.
func restarts(what string) func(*Lab) {
	return func(l *Lab) {
		l.Have("web")
		l.Have("db")
		web, db := l.Fingerprint("web"), l.Fingerprint("db")
		helper, daemon := l.mainPID("bangerd-root"), l.mainPID("bangerd")
		l.Run(what)
		l.Wait("a daemon has been restarted", func() bool {
			return l.mainPID("bangerd-root") != helper || l.mainPID("bangerd") != daemon
		})
		l.Answering()
		for _, vm := range l.VMs() {
			l.Equal("the state of "+vm.Name+" in vm list", string(vm.State), "running")
		}
		l.Unharmed("web", web)
		l.Unharmed("db", db)
		l.NoLeaks()
		// Adopted VMs can be stopped, and new ones work.
		l.Dev("banger vm stop web")
		l.Equal("the state of a stopped VM", string(l.VM("web").State), "stopped")
		l.Boot("web", "banger vm start web")
		l.StartCounter("web")
		l.Unharmed("db", db)
	}
}

// spoiled returns the scenario in which the daemons are restarted after handles.json,
// which only caches the host's state, was damaged: it is rebuilt, and never trusted.
// The shell command damages the file $f; $decoy is the pid of a process that is not a
// VMM.
func spoiled(how string) func(*Lab) {
	return func(l *Lab) {
		decoy := l.Run("systemd-run -q --unit=scenario-decoy --collect sleep infinity && systemctl show --property MainPID --value scenario-decoy")
		defer l.Try("systemctl stop scenario-decoy")
		l.Start("web")
		before := l.Fingerprint("web")
		file := "/var/lib/banger/data/vms/" + l.VM("web").ID + "/handles.json"
		for _, restart := range []string{
			"systemctl restart bangerd-root bangerd",
			"systemctl kill --signal=KILL --kill-whom=main bangerd bangerd-root",
		} {
			daemon := l.mainPID("bangerd")
			l.Run("f=%s decoy=%s; %s; %s", file, decoy, how, restart)
			l.Wait("the daemon has been restarted", func() bool { return l.mainPID("bangerd") != daemon })
			l.Answering()
			l.Unharmed("web", before)
			l.Contains("the handles that were rebuilt", l.Run("cat %s", file), fmt.Sprintf(`"pid":%d`, before.PID))
			l.Run("kill -0 %s", decoy)
		}
		// Damaged while the daemon runs, it cannot make a kill hit another process.
		l.Run("f=%s decoy=%s; %s", file, decoy, how)
		l.Dev("banger vm kill web")
		l.Equal("the state after kill", string(l.VM("web").State), "stopped")
		l.Run("kill -0 %s && ! kill -0 %d 2>/dev/null", decoy, before.PID)
		l.NoLeaks()
	}
}
