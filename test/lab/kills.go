package lab

import "fmt"

// faults is the directory that enables fault points of both daemons (package
// faultpoint).
const faults = "/run/banger-faults"

// killed returns the scenario in which a program is killed at each point of a command:
// it leaves nothing at any point, and does not affect another VM. before makes what the
// command needs.
func killed(program string, before func(*Lab), command string, points ...string) func(*Lab) {
	return func(l *Lab) {
		f := faultPoints{l}
		f.enable(true)
		l.Start("other")
		other := l.Fingerprint("other")
		l.Points(points, func(point string) {
			if before != nil {
				before(l)
			}
			f.arm(program, point)
			r := l.TryDev(fmt.Sprintf("timeout 150 "+command, l.driver))
			if l.Try("test -e %s/%s", faults, program).Status == 0 {
				l.Failf("%s never reached the point %q; it did:\n%s", program, point, r.Output)
			}
			l.Answering()
			l.atRest()
			l.NoLeaks()
			l.Unharmed("other", other)
			// Whatever the result, the VM can be removed, and then it is gone.
			l.TryDev("banger vm delete --force k 2>/dev/null")
			l.Fails("banger vm show k", "no VM")
		})
		l.NoLeaks()
		l.Unharmed("other", other)
		f.enable(false)
	}
}

// faultPoints are the fault points of both daemons.
type faultPoints struct{ lab *Lab }

// enable enables or disables them.
func (f faultPoints) enable(on bool) {
	l := f.lab
	for unit, program := range map[string]string{"bangerd": "daemon", "bangerd-root": "helper"} {
		dropIn := "/run/systemd/system/" + unit + ".service.d"
		if on {
			l.Run("mkdir -p -m 1777 %[1]s && mkdir -p %[2]s && printf '[Service]\\nEnvironment=BANGER_FAULTPOINT_FILE=%[1]s/%[3]s\\n' > %[2]s/faults.conf", faults, dropIn, program)
		} else {
			l.Run("rm -rf %s %s", dropIn, faults)
		}
	}
	// The daemon's unit lists what it may write to.
	if on {
		l.Run("chmod 1777 %s && printf 'ReadWritePaths=%s\\n' >> /run/systemd/system/bangerd.service.d/faults.conf", faults, faults)
	}
	l.Run("systemctl daemon-reload && systemctl restart bangerd-root bangerd")
	l.Answering()
}

// arm sets the point at which a program kills itself, once.
func (f faultPoints) arm(program, point string) {
	user := map[string]string{"daemon": owner, "helper": "root"}[program]
	f.lab.Run("echo %s > %s/%s.new && chown %s %s/%s.new && mv %s/%s.new %s/%s",
		Quote(point), faults, program, user, faults, program, faults, program, faults, program)
}

// around returns the points before and after each step of an operation.
func around(operation string, steps ...string) []string {
	var points []string
	for _, s := range steps {
		points = append(points, operation+" "+s+" before", operation+" "+s+" after")
	}
	return points
}

// verbs returns the points before and after verbs of the helper.
func verbs(names ...string) []string {
	var points []string
	for _, n := range names {
		points = append(points, n+" before", n+" after")
	}
	return points
}

func makeStopped(l *Lab) { l.Dev("banger vm create %s --driver %s --name k", start, l.driver) }

func makeRunning(l *Lab) { l.Dev("banger vm create %s --driver %s --name k --start", start, l.driver) }

// The commands that are interrupted; %s is the driver, if it is needed.
const (
	createCommand = "banger vm create " + start + " --driver %s --name k"
	startCommand  = "banger vm start k # %s"
	stopCommand   = "banger vm stop k # %s"
	deleteCommand = "banger vm delete --force k # %s"
)
