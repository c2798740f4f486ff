package lab

import (
	"strings"

	"banger/test/lab/versions"
)

// notAgain prevents systemd from restarting a killed updater, so that the power is cut
// at that very moment.
const notAgain = "/run/systemd/system/banger-update.service.d/lab.conf"

// killAt runs an update whose updater is killed at a point, and is not restarted.
func (u updater) killAt(point, version string) {
	u.lab.Run("mkdir -p $(dirname %[1]s) && printf '[Service]\\nRestart=no\\n' > %[1]s && systemctl daemon-reload", notAgain)
	u.arm(point)
	u.start(asUpdater, updateTo+version)
	there := func() bool { return u.lab.Try("test ! -e %s", updaterFault).Status == 0 }
	u.lab.Wait("the updater is at the point "+point, func() bool { return there() || u.ended() })
	if !there() {
		u.lab.Failf("the updater never reached the point %q:\n%s", point, u.lab.Run("cat %s", updateLog))
	}
}

// updateCut returns the scenario in which the host loses power at each point: the next
// boot ends the update. Only a proven version stays installed.
func updateCut(repository, version string, points ...string) func(*Lab) {
	return func(l *Lab) {
		u := begin(l, versions.Base, repository)
		l.Start("other")
		l.Points(points, func(point string) {
			u.base(version)
			u.server.offer(repository) // a boot ends the server
			l.Guest("other", "echo '"+point+"' > /kept; sync")
			u.updater.killAt(point, version)
			l.Cut()
			l.Answering()
			want := versions.Base
			if strings.HasPrefix(point, "update committing") {
				want = version
			}
			u.isVersion(want)
			l.Equal("the state of the VM after a cut at "+point, string(l.VM("other").State), "stopped")
			l.NoLeaks()
			l.Boot("other", "banger vm start other")
			l.Equal("what was synced before the power was cut", l.Guest("other", "cat /kept"), point)
			l.StartCounter("other")
		})
		l.NoLeaks()
	}
}
