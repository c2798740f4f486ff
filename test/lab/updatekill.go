package lab

import (
	"strings"

	"banger/internal/faultpoint"
	"banger/internal/update/journal"
	"banger/test/lab/versions"
)

// updaterFault is the file that sets the point at which the updater kills itself; its
// environment comes from the command.
const (
	updaterFault = faults + "/updater"
	asUpdater    = faultpoint.Env + "=" + updaterFault
)

// at returns the points before and after the work of an update in states.
func at(states ...journal.State) []string {
	var points []string
	for _, s := range states {
		points = append(points, around("update", string(s))...)
	}
	return points
}

// updater runs in the background, or is killed at a point.
type updater struct{ lab *Lab }

// arm sets the point at which the next updater kills itself.
func (u updater) arm(point string) {
	u.lab.Run("mkdir -p -m 1777 %s && echo %s > %s", faults, Quote(point), updaterFault)
}

// start starts an update in the background. Its output is in updateLog, and its
// status in updateStatus when it has ended.
func (u updater) start(environment, command string) {
	u.lab.Run("rm -f %s; systemd-run -q --collect --unit=scenario-update --setenv=HOME=/root --setenv=%s sh -c %s",
		updateStatus, environment, Quote(command+" > "+updateLog+" 2>&1; echo $? > "+updateStatus))
}

const (
	updateLog    = "/root/update.log"
	updateStatus = "/root/update.status"
)

func (u updater) ended() bool { return u.lab.Try("test -s %s", updateStatus).Status == 0 }

// updateKilled returns the scenario in which the updater is killed at each point: it is
// restarted and ends the update, with one version or the other.
func updateKilled(repository, version string, points ...string) func(*Lab) {
	return func(l *Lab) {
		u := begin(l, versions.Base, repository)
		g := startGuests(l, "other")
		vms := u.vms()
		l.Points(points, func(point string) {
			u.base(version)
			u.updater.arm(point)
			r := l.Try("%s timeout 300 %s%s", asUpdater, updateTo, version)
			if l.Try("test -e %s", updaterFault).Status == 0 {
				l.Failf("the updater never reached the point %q:\n%s", point, r.Output)
			}
			if r.Status > 1 {
				l.Failf("after a kill at %q the update ended with status %d:\n%s", point, r.Status, r.Output)
			}
			l.Answering()
			now := versions.Base
			if r.Status == 0 {
				now = version
			}
			u.isVersion(now)
			l.Equal("what is known of the VMs after a kill at "+point, u.vms(), vms)
			g.unharmed()
		})
		u.base(version)
	}
}

// base installs the version that scenarios start with, from another one or none.
func (u update) base(from string) {
	if u.current() == versions.Base {
		return
	}
	if from == versions.Migrating { // an installation does not touch the store
		u.lab.Run("banger update --rollback --force --settle 1s")
	} else {
		u.reset(versions.Base)
	}
	u.isVersion(versions.Base)
}

// current returns the version that the link of that name points at.
func (u update) current() string {
	return strings.TrimPrefix(u.lab.Run("readlink /usr/local/lib/banger/current"), "versions/")
}
