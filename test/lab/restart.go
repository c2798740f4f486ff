package lab

// restarts returns the scenario in which something happens to the daemons while two
// VMs run: the VMs are unharmed, and can be used as before.
func restarts(what string) func(*Lab) {
	return func(l *Lab) {
		l.Start("web")
		l.Start("db")
		web, db := l.Fingerprint("web"), l.Fingerprint("db")
		helper, daemon := l.mainPID("bangerd-root"), l.mainPID("bangerd")
		l.Run(what)
		l.Answering()
		if l.mainPID("bangerd-root") == helper && l.mainPID("bangerd") == daemon {
			l.Failf("neither daemon is another process after: %s", what)
		}
		for _, vm := range l.VMs() {
			l.Equal("the state of "+vm.Name+" in vm list", string(vm.State), "running")
		}
		l.Unharmed("web", web)
		l.Unharmed("db", db)
		l.NoLeaks()
		// What was adopted can be ended, and what is made now works.
		l.Dev("banger vm stop web")
		l.Equal("the state of a stopped VM", string(l.VM("web").State), "stopped")
		l.Dev("banger vm start web")
		l.Unharmed("db", db)
	}
}

// mainPID is the pid of a unit's main process.
func (l *Lab) mainPID(unit string) string {
	return l.Run("systemctl show --property MainPID --value %s", unit)
}
