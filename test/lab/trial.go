package lab

import "strings"

// doctorTry: a trial starts a guest and leaves nothing, even if it is stopped; if the
// jailer starts nothing, although all checks pass, the trial reports the failed step.
func doctorTry(l *Lab) {
	nothing := func() {
		l.Equal("how many VMs a trial has left", len(l.VMs()), 0)
		if images := l.Dev("banger image list"); strings.Contains(images, "doctor-try") {
			l.Failf("a trial has left an image:\n%s", images)
		}
		l.NoLeaks()
	}
	l.Contains("a look alone", l.TryDev("banger doctor --json").Stdout, `"checks"`)
	l.Contains("a trial", l.TryDev("banger doctor --try").Output, "trial: a guest started with "+l.driver+" (kvm), answered, and was removed")
	nothing()
	// Root asks, too: the daemon is another user's then.
	l.Contains("root's trial", l.Try("banger doctor --try").Output, "trial: a guest started with "+l.driver)
	nothing()

	// Stopped while its guest boots.
	r := l.TryDev(`banger doctor --try > trial.out 2>&1 & p=$!
		for i in $(seq 600); do test -n "$(systemctl list-units --plain --no-legend 'banger-vm-*')" && break; sleep 0.1; done
		kill -TERM $p; wait $p; echo status $?; cat trial.out; rm trial.out`)
	l.Contains("the status of an interrupted trial", r.Output, "status 143\n")
	l.Contains("what an interrupted trial prints", r.Output, "nothing is left")
	l.Contains("where it was", r.Output, "trial: failed at step ")
	nothing()

	if !l.Firecracker() {
		return
	}
	version, _, _ := strings.Cut(l.Run("/usr/local/bin/jailer --version"), "\n")
	l.fakeJailer("if [ \"$1\" = --version ]; then echo '" + version + "'; exit; fi; echo this jailer starts nothing >&2; exit 1")
	r = l.TryDev("banger doctor --try")
	l.trueJailer()
	l.Equal("the status of a trial that fails", r.Status, 1)
	l.Contains("a trial with a jailer that starts nothing", r.Output, "fail  trial: failed at step vmm: ")
	l.Contains("the other findings of it", r.Output, "ok    firecracker: ")
	nothing()
}
