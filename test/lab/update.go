package lab

import (
	"encoding/json"
	"fmt"
	"strings"

	"banger/internal/paths"
	"banger/internal/update/journal"
	"banger/test/lab/versions"
)

// updates is the directory of the versions and their repositories (package versions).
const updates = "/lab/extra/updates"

// updateTo is the command that updates to a version, with a short settling time.
const updateTo = "banger update --settle 2s --to "

// update is what the scenarios of updates share: the version that is installed, and
// what an update must not change.
type update struct {
	lab     *Lab
	server  releaseServer
	updater updater
}

// begin installs a version, without traces of earlier updates, and offers others.
func begin(l *Lab, version, repository string) update {
	u := update{lab: l, server: releaseServer{l}, updater: updater{l}}
	u.reset(version)
	u.server.offer(repository)
	return u
}

// reset installs a version over the existing one. A store that it cannot read is
// removed: a failed scenario left it.
func (u update) reset(version string) {
	l := u.lab
	programs := updates + "/programs/" + version
	l.Run("! systemctl -q is-active banger-update || systemctl stop banger-update; ! mountpoint -q %[1]s || umount %[1]s; rm -rf %[1]s/* %[2]s/updating %[3]s %[4]s; systemctl daemon-reload",
		paths.System().Update(), paths.Programs, notAgain, updaterFault)
	if l.TryDev("%s/bangerd --system --check-migrations", programs).Status > 1 {
		l.Note("the store is of a newer version, and is removed")
		l.Run("banger system uninstall --purge --force")
	}
	l.installFrom(programs)
	l.Answering()
	u.isVersion(version)
}

// isVersion ends the scenario if another version is installed or running, or if an
// update has left files.
func (u update) isVersion(version string) {
	l := u.lab
	// The outcome is written a moment before the updater has removed its other files.
	l.Wait("nothing of the update is left", func() bool {
		return l.Try("test ! -e %s && test ! -e %s && test ! -L %s/updating", u.journal(), paths.System().Hold(), paths.Programs).Status == 0
	})
	l.Equal("what current points at", l.Run("readlink /usr/local/lib/banger/current"), "versions/"+version)
	l.Contains("the install record", l.Run("cat %s", paths.InstallRecord), `"`+version+`"`)
	for _, unit := range []string{"bangerd", "bangerd-root"} {
		l.Equal("the program of "+unit, l.Run("readlink /proc/%s/exe", l.mainPID(unit)), paths.Programs+"/versions/"+version+"/"+unit)
	}
	l.Contains("banger version", l.Dev("banger version"), version)
	l.Run("banger system status")
}

func (u update) journal() string { return paths.System().Update() + "/" + journal.File }

// installed returns what an update that fails must not change.
func (u update) installed() string {
	return u.lab.Run(`for f in /etc/systemd/system/banger*.* /etc/udev/rules.d/*banger* /etc/banger/*; do test ! -f $f || { echo "== $f"; cat $f; }; done
for f in /usr/local/bin/*banger*; do echo "$f $(readlink $f)"; done
readlink /usr/local/lib/banger/current
sha256sum /usr/local/lib/banger/current/*
systemctl is-enabled bangerd bangerd-root
true`) + "\nthe store: " + u.schema()
}

// running returns what a refused update must not change either.
func (u update) running() string {
	return u.installed() + u.lab.Run("ls /usr/local/lib/banger/versions; systemctl show --property MainPID --property ActiveEnterTimestampMonotonic bangerd bangerd-root")
}

// vms returns banger's information about its VMs, without what changes on its own.
func (u update) vms() string {
	all := u.lab.VMs()
	for i := range all {
		all[i].DiskUsage = nil
	}
	text, err := json.Marshal(all)
	if err != nil {
		u.lab.Failf("%v", err)
	}
	return string(text)
}

// guests are running VMs, with their fingerprints.
type guests struct {
	lab    *Lab
	before map[string]Fingerprint
}

// startGuests starts VMs.
func startGuests(l *Lab, names ...string) guests {
	g := guests{l, map[string]Fingerprint{}}
	for _, name := range names {
		l.Start(name)
		g.before[name] = l.Fingerprint(name)
	}
	return g
}

// unharmed ends the scenario if one of them was disturbed.
func (g guests) unharmed() {
	for name, before := range g.before {
		g.lab.Unharmed(name, before)
	}
	g.lab.NoLeaks()
}

// last returns the outcome of the newest update.
func (u update) last() journal.Journal {
	j, err := journal.Parse([]byte(u.lab.Run("cat %s/%s", paths.System().Update(), journal.Last)))
	if err != nil {
		u.lab.Failf("the outcome of the update cannot be read: %v", err)
	}
	return j
}

// stream is the output of a command in a guest that an update must not disturb.
const stream = "/home/" + owner + "/stream"

// updateGood: three guests run, one of them with an open stream. After the update and
// the rollback everything is as before.
func updateGood(l *Lab) {
	u := begin(l, versions.Base, versions.Offers)
	g := startGuests(l, "web", "db", "cache")
	l.Run("systemd-run -q --collect --unit=scenario-stream --uid=%s --setenv=HOME=/home/%s sh -c %s", owner, owner,
		Quote("exec banger vm exec web -- sh -c 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done' > "+stream))
	l.Wait("the command in the guest has output", func() bool { return l.Try("test -s %s", stream).Status == 0 })

	l.Run("rm /usr/local/bin/git-remote-banger") // as an older version installs
	l.Contains("the doctor", l.TryDev("banger doctor").Output, "try: sudo ln -s ../lib/banger/current/banger /usr/local/bin/git-remote-banger")
	before := u.running()
	r := l.Try("banger update --check")
	l.Equal("the status of --check before", r.Status, 10)
	l.Contains("--check", r.Output, versions.Good)
	plan := l.Run("banger update --dry-run")
	for _, part := range []string{versions.Base + " becomes " + versions.Good, "unchanged", "+++ /etc/systemd/system/bangerd.service", "+Description=Daemon of banger " + versions.Good, "git-remote-banger is added"} {
		l.Contains("the plan", plan, part)
	}
	l.Equal("what --check and --dry-run changed", diff(before, u.running()), "")

	l.Contains("the update", l.Run("banger update --settle 5s"), versions.Good+" is installed; it was "+versions.Base)
	u.isVersion(versions.Good)
	l.Contains("the daemon's unit", l.Run("systemctl show --property Description bangerd"), versions.Good)
	l.Equal("git's name for the command", l.Run("readlink /usr/local/bin/git-remote-banger"), "../lib/banger/current/banger")
	l.Note("during the update the API was down for %d ms", u.last().Downtime.Milliseconds())
	l.Equal("the status of --check afterwards", l.Try("banger update --check").Status, 0)
	streamContinues(l)
	g.unharmed()

	l.Contains("the rollback", l.Run("banger update --rollback --settle 5s"), versions.Base+" is installed; it was "+versions.Good)
	u.isVersion(versions.Base)
	l.Contains("the daemon's unit", l.Run("systemctl show --property Description bangerd"), "Daemon of banger for")
	l.Note("during the rollback the API was down for %d ms", u.last().Downtime.Milliseconds())
	streamContinues(l)
	g.unharmed()
	l.Run("systemctl stop scenario-stream")
}

// streamContinues ends the scenario if the guest's output does not arrive, or not all of
// it.
func streamContinues(l *Lab) {
	lines := func() []string { return strings.Fields(l.Run("cat %s", stream)) }
	before := len(lines())
	var now []string
	l.Wait("the guest's output continues", func() bool { now = lines(); return len(now) > before+2 })
	for i, line := range now[:len(now)-1] { // the last one may be incomplete
		if line != fmt.Sprint(i+1) {
			l.Failf("the guest's line %d is %q", i+1, line)
		}
	}
}

// updateMigration: a version that changes the store's schema, and its rollback, which
// restores the old store: so it is refused while VMs would be lost.
func updateMigration(l *Lab) {
	u := begin(l, versions.Base, versions.Later)
	g := startGuests(l, "web", "db")
	vms := u.vms()
	older := u.schema()
	var has, knows int
	if _, err := fmt.Sscanf(older, schemaLine, &has, &knows); err != nil || has != knows {
		l.Failf("the store's schema: %q", older)
	}
	l.Contains("the plan", l.Run("banger update --dry-run --to "+versions.Migrating), fmt.Sprintf("schema %d becomes %d", has, has+1))
	l.Run(updateTo + versions.Migrating)
	u.isVersion(versions.Migrating)
	l.Equal("the store's schema", u.schema(), fmt.Sprintf(schemaLine, has+1, has+1))
	l.Equal("the VMs after the migration", u.vms(), vms)
	l.Note("with a migration the API was down for %d ms", u.last().Downtime.Milliseconds())
	g.unharmed()

	before := u.running()
	l.RootFails("banger update --rollback", "it needs the backup of the store")
	l.Dev("banger vm create %s --driver %s --name newer", start, l.driver)
	l.RootFails("banger update --rollback --force", "newer")
	l.Dev("banger vm delete --force newer")
	l.Equal("what refusals changed", diff(before, u.running()), "")
	l.Run("banger update --rollback --force --settle 2s")
	u.isVersion(versions.Base)
	l.Equal("the store's schema", u.schema(), older)
	l.Equal("the VMs after the rollback", u.vms(), vms)
	g.unharmed()
}

// schemaLine is the output of bangerd --check-migrations.
const schemaLine = "schema %d, known %d"

// schema returns what the installed version reports about the store.
func (u update) schema() string {
	return strings.TrimSpace(u.lab.TryDev("%s/current/bangerd --system --check-migrations", paths.Programs).Stdout)
}

// updateOldUnits: an installation whose units lack KillMode=process, and a guest in the
// helper's own cgroup, as in the older layout: the units are updated first.
func updateOldUnits(l *Lab) {
	u := begin(l, versions.Older, versions.Offers)
	l.Equal("KillMode before", l.Run("systemctl show --property KillMode --value bangerd-root"), "control-group")
	g := startGuests(l, "web", "db")
	l.Run("echo %d > /sys/fs/cgroup/system.slice/bangerd-root.service/cgroup.procs", g.before["web"].PID)
	if l.Firecracker() {
		// Older jailers write it only into their own pid namespace.
		l.Run("cd %s/firecracker/%s/root && { test -e firecracker.pid || echo %d > firecracker.pid; }", paths.Jails, l.VM("web").ID, g.before["web"].PID)
	}
	l.Run(updateTo + versions.Good)
	u.isVersion(versions.Good)
	for _, unit := range []string{"bangerd", "bangerd-root"} {
		l.Equal("KillMode of "+unit, l.Run("systemctl show --property KillMode --value "+unit), "process")
	}
	for name, before := range g.before {
		l.Unharmed(name, before)
	}
	web := l.VM("web")
	l.Dev("banger vm stop web")
	l.gone(web.ID)
	l.NoLeaks()
}
