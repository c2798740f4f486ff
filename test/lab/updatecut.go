package lab

import (
	"strings"

	"banger/test/lab/versions"
)

// notAgain prevents systemd from restarting a killed updater, so that the power is cut
// at that very moment.
const notAgain = "/run/systemd/system/banger-update.service.d/lab.conf"

// killAt runs an update whose updater is killed at a point, and is not restarted.
func (l *Lab) killAt(point, version string) {
	l.Run("mkdir -p $(dirname %[1]s) && printf '[Service]\\nRestart=no\\n' > %[1]s && systemctl daemon-reload", notAgain)
	l.armUpdater(point)
	l.beginUpdate(asUpdater, updateTo+version)
	there := func() bool { return l.Try("test ! -e %s", updaterFault).Status == 0 }
	l.Wait("the updater is at the point "+point, func() bool { return there() || l.updateEnded() })
	if !there() {
		l.Failf("the updater never reached the point %q:\n%s", point, l.Run("cat %s", updateLog))
	}
}

// updateCut returns the scenario in which the host loses power at each point: the next
// boot ends the update. Only a proven version stays installed.
func updateCut(repository, version string, points ...string) func(*Lab) {
	return func(l *Lab) {
		l.begin(versions.Base, repository)
		l.Start("other")
		l.Points(points, func(point string) {
			l.base(version)
			l.offer(repository) // a boot ends the server
			l.Guest("other", "echo '"+point+"' > /kept; sync")
			l.killAt(point, version)
			l.Cut()
			l.Answering()
			want := versions.Base
			if strings.HasPrefix(point, "update committing") {
				want = version
			}
			l.isVersion(want)
			l.Equal("the state of the VM after a cut at "+point, string(l.VM("other").State), "stopped")
			l.NoLeaks()
			l.Boot("other", "banger vm start other")
			l.Equal("what was synced before the power was cut", l.Guest("other", "cat /kept"), point)
			l.StartCounter("other")
		})
		l.NoLeaks()
	}
}
