package lab

import "fmt"

// reboot: after an orderly reboot of the host every VM is stopped, none has objects on
// the host, and the content of its disk is unchanged.
func reboot(l *Lab) {
	l.Start("web")
	l.Start("db")
	l.Guest("web", "echo kept > /kept; sync")
	l.Reboot()
	l.Answering()
	for _, name := range []string{"web", "db"} {
		vm := l.VM(name)
		l.Equal("the state of "+name+" after a reboot", string(vm.State), "stopped")
		if vm.Reason == "" {
			l.Failf("VM %s has no reason for being stopped", name)
		}
	}
	l.NoLeaks()
	l.Boot("web", "banger vm start web")
	l.Equal("what was written before the reboot", l.Guest("web", "cat /kept"), "kept")
}

// cut returns the scenario in which the host loses power during a command: the next
// boot finishes or undoes it.
func cut(before, command, middle string) func(*Lab) {
	return func(l *Lab) {
		l.Start("other")
		l.Guest("other", "echo kept > /kept; sync")
		if before != "" {
			l.Start(before)
		}
		l.Run("runuser -u %s -- setsid sh -c %s >/dev/null 2>&1 &", owner, Quote(fmt.Sprintf(command, l.driver)))
		l.Wait("the middle: "+middle, func() bool { return l.Try(middle).Status == 0 })
		l.Cut()
		l.Answering()
		l.atRest()
		l.NoLeaks()
		l.Equal("the state of the other VM", string(l.VM("other").State), "stopped")
		l.Boot("other", "banger vm start other")
		l.Equal("what was synced before the power was cut", l.Guest("other", "cat /kept"), "kept")
	}
}
