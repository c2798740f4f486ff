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

// begin installs a version, without traces of earlier updates, and offers others.
func (l *Lab) begin(version, repository string) {
	l.reset(version)
	l.offer(repository)
}

// reset installs a version over the existing one. A store that it cannot read is
// removed: a failed scenario left it.
func (l *Lab) reset(version string) {
	programs := updates + "/programs/" + version
	l.Run("! systemctl -q is-active banger-update || systemctl stop banger-update; ! mountpoint -q %[1]s || umount %[1]s; rm -rf %[1]s/* %[2]s/updating %[3]s %[4]s; systemctl daemon-reload",
		paths.System().Update(), paths.Programs, notAgain, updaterFault)
	if l.TryDev("%s/bangerd --system --check-migrations", programs).Status > 1 {
		l.Note("the store is of a newer version, and is removed")
		l.Run("banger system uninstall --purge --force")
	}
	l.installFrom(programs)
	l.Answering()
	l.isVersion(version)
}

// server is the unit of the server that the programs download releases from.
const server = "scenario-updates"

// offer makes that server serve a repository; banger forgets other ones.
func (l *Lab) offer(repository string) {
	l.Run("rm -rf %s/repository", paths.System().Update())
	l.show(repository)
}

// show makes the server serve a repository.
func (l *Lab) show(repository string) {
	l.serve("busybox httpd -f -p 127.0.0.1:8099 -h " + updates + "/repository/" + repository)
}

// serve makes a command the server.
func (l *Lab) serve(command string) {
	l.noServer()
	l.Run("systemd-run -q --collect --unit=%s %s", server, command)
	l.Wait("a server listens", func() bool { return l.Try("ss -Hltn sport = :8099 | grep -q .").Status == 0 })
}

func (l *Lab) noServer() { l.Run("! systemctl -q is-active %[1]s || systemctl stop %[1]s", server) }

// isVersion ends the scenario if another version is installed or running, or if an
// update has left files.
func (l *Lab) isVersion(version string) {
	// The outcome is written a moment before the updater has removed its other files.
	l.Wait("nothing of the update is left", func() bool {
		return l.Try("test ! -e %s && test ! -e %s && test ! -L %s/updating", l.journal(), paths.System().Hold(), paths.Programs).Status == 0
	})
	l.Equal("what current points at", l.Run("readlink /usr/local/lib/banger/current"), "versions/"+version)
	l.Contains("the install record", l.Run("cat %s", paths.InstallRecord), `"`+version+`"`)
	for _, unit := range []string{"bangerd", "bangerd-root"} {
		l.Equal("the program of "+unit, l.Run("readlink /proc/%s/exe", l.mainPID(unit)), paths.Programs+"/versions/"+version+"/"+unit)
	}
	l.Contains("banger version", l.Dev("banger version"), version)
	l.Run("banger system status")
}

func (l *Lab) journal() string { return paths.System().Update() + "/" + journal.File }

// installed returns what an update that fails must not change.
func (l *Lab) installed() string {
	return l.Run(`for f in /etc/systemd/system/banger*.* /etc/udev/rules.d/*banger* /etc/banger/*; do test ! -f $f || { echo "== $f"; cat $f; }; done
readlink /usr/local/bin/banger /usr/local/lib/banger/current
sha256sum /usr/local/lib/banger/current/*
systemctl is-enabled bangerd bangerd-root
true`) + "\nthe store: " + l.schema()
}

// running returns what a refused update must not change either.
func (l *Lab) running() string {
	return l.installed() + l.Run("ls /usr/local/lib/banger/versions; systemctl show --property MainPID --property ActiveEnterTimestampMonotonic bangerd bangerd-root")
}

// vms returns banger's information about its VMs, without what changes on its own.
func (l *Lab) vms() string {
	all := l.VMs()
	for i := range all {
		all[i].DiskUsage = nil
	}
	text, err := json.Marshal(all)
	if err != nil {
		l.Failf("%v", err)
	}
	return string(text)
}

// guests are running VMs, with their fingerprints.
type guests map[string]Fingerprint

func (l *Lab) startGuests(names ...string) guests {
	g := guests{}
	for _, name := range names {
		l.Start(name)
		g[name] = l.Fingerprint(name)
	}
	return g
}

func (l *Lab) guestsUnharmed(g guests) {
	for name, before := range g {
		l.Unharmed(name, before)
	}
	l.NoLeaks()
}

// last returns the outcome of the newest update.
func (l *Lab) last() journal.Journal {
	j, err := journal.Parse([]byte(l.Run("cat %s/%s", paths.System().Update(), journal.Last)))
	if err != nil {
		l.Failf("the outcome of the update cannot be read: %v", err)
	}
	return j
}

// stream is the output of a command in a guest that an update must not disturb.
const stream = "/home/" + owner + "/stream"

// updateGood: three guests run, one of them with an open stream. After the update and
// the rollback everything is as before.
func updateGood(l *Lab) {
	l.begin(versions.Base, versions.Offers)
	g := l.startGuests("web", "db", "cache")
	l.Run("systemd-run -q --collect --unit=scenario-stream --uid=%s --setenv=HOME=/home/%s sh -c %s", owner, owner,
		Quote("exec banger vm exec web -- sh -c 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done' > "+stream))
	l.Wait("the command in the guest has output", func() bool { return l.Try("test -s %s", stream).Status == 0 })

	before := l.running()
	r := l.Try("banger update --check")
	l.Equal("the status of --check before", r.Status, 10)
	l.Contains("--check", r.Output, versions.Good)
	plan := l.Run("banger update --dry-run")
	for _, part := range []string{versions.Base + " becomes " + versions.Good, "unchanged", "+++ /etc/systemd/system/bangerd.service", "+Description=Daemon of banger " + versions.Good} {
		l.Contains("the plan", plan, part)
	}
	l.Equal("what --check and --dry-run changed", diff(before, l.running()), "")

	l.Contains("the update", l.Run("banger update --settle 5s"), versions.Good+" is installed; it was "+versions.Base)
	l.isVersion(versions.Good)
	l.Contains("the daemon's unit", l.Run("systemctl show --property Description bangerd"), versions.Good)
	l.Note("during the update the API was down for %d ms", l.last().Downtime.Milliseconds())
	l.Equal("the status of --check afterwards", l.Try("banger update --check").Status, 0)
	l.streams()
	l.guestsUnharmed(g)

	l.Contains("the rollback", l.Run("banger update --rollback --settle 5s"), versions.Base+" is installed; it was "+versions.Good)
	l.isVersion(versions.Base)
	l.Contains("the daemon's unit", l.Run("systemctl show --property Description bangerd"), "Daemon of banger for")
	l.Note("during the rollback the API was down for %d ms", l.last().Downtime.Milliseconds())
	l.streams()
	l.guestsUnharmed(g)
	l.Run("systemctl stop scenario-stream")
}

// streams ends the scenario if the guest's output does not arrive, or not all of it.
func (l *Lab) streams() {
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
	l.begin(versions.Base, versions.Later)
	g := l.startGuests("web", "db")
	vms := l.vms()
	older := l.schema()
	var has, knows int
	if _, err := fmt.Sscanf(older, schemaLine, &has, &knows); err != nil || has != knows {
		l.Failf("the store's schema: %q", older)
	}
	l.Contains("the plan", l.Run("banger update --dry-run --to "+versions.Migrating), fmt.Sprintf("schema %d becomes %d", has, has+1))
	l.Run(updateTo + versions.Migrating)
	l.isVersion(versions.Migrating)
	l.Equal("the store's schema", l.schema(), fmt.Sprintf(schemaLine, has+1, has+1))
	l.Equal("the VMs after the migration", l.vms(), vms)
	l.Note("with a migration the API was down for %d ms", l.last().Downtime.Milliseconds())
	l.guestsUnharmed(g)

	before := l.running()
	l.RootFails("banger update --rollback", "it needs the backup of the store")
	l.Dev("banger vm create %s --driver %s --name newer", start, l.driver)
	l.RootFails("banger update --rollback --force", "newer")
	l.Dev("banger vm delete --force newer")
	l.Equal("what refusals changed", diff(before, l.running()), "")
	l.Run("banger update --rollback --force --settle 2s")
	l.isVersion(versions.Base)
	l.Equal("the store's schema", l.schema(), older)
	l.Equal("the VMs after the rollback", l.vms(), vms)
	l.guestsUnharmed(g)
}

// schemaLine is the output of bangerd --check-migrations.
const schemaLine = "schema %d, known %d"

// schema returns what the installed version reports about the store.
func (l *Lab) schema() string {
	return strings.TrimSpace(l.TryDev("%s/current/bangerd --system --check-migrations", paths.Programs).Stdout)
}

// updateOldUnits: an installation whose units lack KillMode=process, and a guest in the
// helper's own cgroup, as in the older layout: the units are updated first.
func updateOldUnits(l *Lab) {
	l.begin(versions.Older, versions.Offers)
	l.Equal("KillMode before", l.Run("systemctl show --property KillMode --value bangerd-root"), "control-group")
	g := l.startGuests("web", "db")
	l.Run("echo %d > /sys/fs/cgroup/system.slice/bangerd-root.service/cgroup.procs", g["web"].PID)
	if l.Firecracker() {
		// Older jailers write it only into their own pid namespace.
		l.Run("cd %s/firecracker/%s/root && { test -e firecracker.pid || echo %d > firecracker.pid; }", paths.Jails, l.VM("web").ID, g["web"].PID)
	}
	l.Run(updateTo + versions.Good)
	l.isVersion(versions.Good)
	for _, unit := range []string{"bangerd", "bangerd-root"} {
		l.Equal("KillMode of "+unit, l.Run("systemctl show --property KillMode --value "+unit), "process")
	}
	for name, before := range g {
		l.Unharmed(name, before)
	}
	web := l.VM("web")
	l.Dev("banger vm stop web")
	l.gone(web.ID)
	l.NoLeaks()
}
