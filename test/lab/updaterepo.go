package lab

import (
	"time"

	"banger/internal/paths"
	"banger/test/lab/versions"
)

// refused ends the scenario if an update is made, fails without printing want, or
// changes anything.
func (u update) refused(command, want string) {
	before := u.running()
	u.lab.RootFails(command, want)
	u.lab.Equal("what a refused update changed", diff(before, u.running()), "")
	u.isVersion(versions.Base)
}

// updateAttacks: attacks by repositories are refused, each with its own error. The
// tests of internal/update/repo contain many more.
func updateAttacks(l *Lab) {
	u := begin(l, versions.Base, versions.Offers)
	g := startGuests(l, "web")
	l.Equal("the status of --check", l.Try("banger update --check").Status, 10)
	u.server.show(versions.Aged)
	u.refused("banger update", "it is older than last time")
	for name, want := range map[string]string{
		versions.Expired: "it expired at",
		versions.Altered: "it was altered",
		versions.Foreign: "it is not signed by any of the keys",
	} {
		u.server.offer(name)
		u.refused("banger update", want)
	}
	u.server.offer(versions.Offers)
	u.refused("banger update --to v0.1.0", "v0.1.0")
	u.refused("banger update --to ../v1.1.0", "it is not a valid version")
	u.refused("banger update --repository http://198.51.100.80/", "plain http")
	g.unharmed()
	l.Run(updateTo + versions.Good)
	u.isVersion(versions.Good)
	// Downgrades are never allowed here.
	l.RootFails("banger update --to "+versions.Base, "cannot downgrade")
	g.unharmed()
}

// updateNoNetwork: nobody answers.
func updateNoNetwork(l *Lab) {
	u := begin(l, versions.Base, versions.Offers)
	u.server.stop()
	u.refused("banger update", "cannot get "+versions.URL)
	u.refused("banger update --check", "cannot get "+versions.URL)
}

// stallTime bounds an update whose server accepts the request and sends nothing: the
// client waits for 30 s, and this is an emulated machine.
const stallTime = 3 * time.Minute

// updateStall: a server that accepts the request and sends nothing.
func updateStall(l *Lab) {
	u := begin(l, versions.Base, versions.Offers)
	u.server.serve("nc -dlk 127.0.0.1 8099")
	begin := time.Now()
	u.refused("banger update", "the server sent next to nothing")
	if took := time.Since(begin); took > stallTime {
		l.Failf("it waited for a server that stalls for %s", took.Round(time.Second))
	}
	u.server.stop()
}

// updateFullDisk: no space for the new version, and none for the journal when the link
// is about to be switched.
func updateFullDisk(l *Lab) {
	u := begin(l, versions.Base, versions.Offers)
	g := startGuests(l, "web")
	l.fillDisk(8000000)
	u.refused("banger update", "space")
	l.Run("rm %s", ballast)
	g.unharmed()

	// A separate disk for the updates' state: on a full disk writing guests would fail,
	// too.
	installed, vms := u.installed(), u.vms()
	state := paths.System().Update()
	l.Run("mount -t tmpfs -o size=2M,mode=700 lab %s", state)
	u.updater.killAt("update switching before", versions.Good)
	l.Wait("the command has ended", u.updater.ended)
	l.Run("rm %s && systemctl daemon-reload; cat /dev/zero > %s/ballast; test -s %s/ballast", notAgain, state, state)
	r := l.Try("banger update")
	if r.Status == 0 {
		l.Failf("an update was made that could not be recorded:\n%s", r.Output)
	}
	l.Contains("the outcome", r.Output, "space")
	u.asBefore(installed, vms)
	g.unharmed()
	l.Run("umount %s", state)
	u.server.offer(versions.Offers)
	l.Run(updateTo + versions.Good)
	u.isVersion(versions.Good)
	g.unharmed()
}

// proving waits until the updater proves the new version.
func (u updater) proving() {
	u.lab.Wait("the updater is running", func() bool {
		if u.ended() {
			u.lab.Failf("the update ended early:\n%s", u.lab.Run("cat %s", updateLog))
		}
		return u.lab.Try("grep -q proving %s", updateLog).Status == 0
	})
}

// updateTwice: of two concurrent updates one is refused, and names the other.
func updateTwice(l *Lab) {
	u := begin(l, versions.Base, versions.Offers)
	g := startGuests(l, "web")
	u.updater.start("LAB=1", "banger update --settle 20s")
	u.updater.proving()
	updater := l.Run("systemctl show --property MainPID --value banger-update")
	l.RootFails("banger update", "an update is already running (pid "+updater+")")
	l.RootFails("banger update --rollback", "an update is already running (pid "+updater+")")
	l.RootFails(build+"/banger system install", "an update has not ended")
	l.Wait("the update has ended", u.updater.ended)
	l.Equal("the status of the first update", l.Run("cat %s", updateStatus), "0")
	u.isVersion(versions.Good)
	g.unharmed()
}

// updateInterrupted: Ctrl-C does not stop the update.
func updateInterrupted(l *Lab) {
	u := begin(l, versions.Base, versions.Offers)
	g := startGuests(l, "web")
	u.updater.start("LAB=1", "banger update --settle 25s")
	u.updater.proving()
	l.Run("kill -INT $(pgrep -f '^banger update --settle')")
	l.Wait("the command has ended", u.updater.ended)
	said := l.Run("cat %s", updateLog)
	l.Contains("what it printed", said, "the update continues")
	l.Equal("its status", l.Run("cat %s", updateStatus), "130")
	l.Run("systemctl -q is-active banger-update")
	l.Wait("the update has ended", func() bool { return l.Try("systemctl -q is-active banger-update").Status != 0 })
	u.isVersion(versions.Good)
	g.unharmed()
}
