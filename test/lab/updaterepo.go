package lab

import (
	"time"

	"banger/internal/paths"
	"banger/test/lab/versions"
)

// refusedUpdate ends the scenario if an update is made, fails without printing want, or
// changes anything.
func (l *Lab) refusedUpdate(command, want string) {
	before := l.running()
	l.RootFails(command, want)
	l.Equal("what a refused update changed", diff(before, l.running()), "")
	l.isVersion(versions.Base)
}

// updateAttacks: attacks by repositories are refused, each with its own error. The
// tests of internal/update/repo contain many more.
func updateAttacks(l *Lab) {
	l.begin(versions.Base, versions.Offers)
	g := l.startGuests("web")
	l.Equal("the status of --check", l.Try("banger update --check").Status, 10)
	l.show(versions.Aged)
	l.refusedUpdate("banger update", "it is older than last time")
	for name, want := range map[string]string{
		versions.Expired: "it expired at",
		versions.Altered: "it was altered",
		versions.Foreign: "it is not signed by any of the keys",
	} {
		l.offer(name)
		l.refusedUpdate("banger update", want)
	}
	l.offer(versions.Offers)
	l.refusedUpdate("banger update --to v0.1.0", "v0.1.0")
	l.refusedUpdate("banger update --to ../v1.1.0", "it is not a valid version")
	l.refusedUpdate("banger update --repository http://198.51.100.80/", "plain http")
	l.guestsUnharmed(g)
	l.Run(updateTo + versions.Good)
	l.isVersion(versions.Good)
	// Downgrades are never allowed here.
	l.RootFails("banger update --to "+versions.Base, "cannot downgrade")
	l.guestsUnharmed(g)
}

// updateNoNetwork: nobody answers.
func updateNoNetwork(l *Lab) {
	l.begin(versions.Base, versions.Offers)
	l.noServer()
	l.refusedUpdate("banger update", "cannot get "+versions.URL)
	l.refusedUpdate("banger update --check", "cannot get "+versions.URL)
}

// stallTime bounds an update whose server accepts the request and sends nothing: the
// client waits for 30 s, and this is an emulated machine.
const stallTime = 3 * time.Minute

// updateStall: a server that accepts the request and sends nothing.
func updateStall(l *Lab) {
	l.begin(versions.Base, versions.Offers)
	l.serve("nc -dlk 127.0.0.1 8099")
	begin := time.Now()
	l.refusedUpdate("banger update", "the server sent next to nothing")
	if took := time.Since(begin); took > stallTime {
		l.Failf("it waited for a server that stalls for %s", took.Round(time.Second))
	}
	l.noServer()
}

// updateFullDisk: no space for the new version, and none for the journal when the link
// is about to be switched.
func updateFullDisk(l *Lab) {
	l.begin(versions.Base, versions.Offers)
	g := l.startGuests("web")
	l.fillDisk(8000000)
	l.refusedUpdate("banger update", "space")
	l.Run("rm %s", ballast)
	l.guestsUnharmed(g)

	// A separate disk for the updates' state: on a full disk writing guests would fail,
	// too.
	installed, vms := l.installed(), l.vms()
	state := paths.System().Update()
	l.Run("mount -t tmpfs -o size=2M,mode=700 lab %s", state)
	l.killAt("update switching before", versions.Good)
	l.Wait("the command has ended", l.updateEnded)
	l.Run("rm %s && systemctl daemon-reload; cat /dev/zero > %s/ballast; test -s %s/ballast", notAgain, state, state)
	r := l.Try("banger update")
	if r.Status == 0 {
		l.Failf("an update was made that could not be recorded:\n%s", r.Output)
	}
	l.Contains("the outcome", r.Output, "space")
	l.asBefore(installed, vms)
	l.guestsUnharmed(g)
	l.Run("umount %s", state)
	l.offer(versions.Offers)
	l.Run(updateTo + versions.Good)
	l.isVersion(versions.Good)
	l.guestsUnharmed(g)
}

// proving waits until the updater proves the new version.
func (l *Lab) proving() {
	l.Wait("the updater is running", func() bool {
		if l.updateEnded() {
			l.Failf("the update ended early:\n%s", l.Run("cat %s", updateLog))
		}
		return l.Try("grep -q proving %s", updateLog).Status == 0
	})
}

// updateTwice: of two concurrent updates one is refused, and names the other.
func updateTwice(l *Lab) {
	l.begin(versions.Base, versions.Offers)
	g := l.startGuests("web")
	l.beginUpdate("LAB=1", "banger update --settle 20s")
	l.proving()
	updater := l.Run("systemctl show --property MainPID --value banger-update")
	l.RootFails("banger update", "an update is already running (pid "+updater+")")
	l.RootFails("banger update --rollback", "an update is already running (pid "+updater+")")
	l.RootFails(build+"/banger system install", "an update has not ended")
	l.Wait("the update has ended", l.updateEnded)
	l.Equal("the status of the first update", l.Run("cat %s", updateStatus), "0")
	l.isVersion(versions.Good)
	l.guestsUnharmed(g)
}

// updateInterrupted: Ctrl-C does not stop the update.
func updateInterrupted(l *Lab) {
	l.begin(versions.Base, versions.Offers)
	g := l.startGuests("web")
	l.beginUpdate("LAB=1", "banger update --settle 25s")
	l.proving()
	l.Run("kill -INT $(pgrep -f '^banger update --settle')")
	l.Wait("the command has ended", l.updateEnded)
	said := l.Run("cat %s", updateLog)
	l.Contains("what it printed", said, "the update continues")
	l.Equal("its status", l.Run("cat %s", updateStatus), "130")
	l.Run("systemctl -q is-active banger-update")
	l.Wait("the update has ended", func() bool { return l.Try("systemctl -q is-active banger-update").Status != 0 })
	l.isVersion(versions.Good)
	l.guestsUnharmed(g)
}
