package lab

import "banger/test/lab/host"

// build is the directory with the programs to test.
const build = "/lab/build"

// installation is what is installed in the lab: banger for the owner, and Firecracker.
type installation struct {
	checks *checks
	shell  *shell
	vms    *vms
	first  string // the host's state before the first installation
}

// Install installs the build for the owner, with a kernel and an image.
func (i *installation) Install() { i.installFrom(build) }

func (i *installation) installFrom(programs string) {
	// A guest in the emulated lab, on a busy machine, is slow.
	settings := `boot_timeout = "6m"`
	if !i.vms.Firecracker() {
		// The probe is too short for an emulated machine, and would choose emulation in
		// emulation.
		settings += "\naccel = \"kvm\""
	}
	i.shell.Run("mkdir -p /etc/banger; test -e /etc/banger/config.toml || echo %s > /etc/banger/config.toml", Quote(settings))
	i.shell.Run("%s/banger system install --owner %s", programs, owner)
	i.shell.Dev("banger kernel list | grep -q default || banger kernel import --host")
	i.shell.Dev("banger image list | grep -q '^tiny ' || banger image import /lab/busybox.tar tiny")
}

// Answering waits until both daemons answer.
func (i *installation) Answering() {
	i.checks.Wait("the daemons answer", func() bool {
		return i.shell.TryDev("systemctl -q is-active bangerd bangerd-root && banger vm list >/dev/null").Status == 0
	})
}

// mainPID returns the pid of a unit's main process.
func (i *installation) mainPID(unit string) string {
	return i.shell.Run("systemctl show --property MainPID --value %s", unit)
}

// takePair installs a pair where banger finds it. It creates new files, as the helper
// reads the version of each file once.
func (i *installation) takePair(pair *host.Pair) {
	if pair == nil {
		return
	}
	i.shell.Run("install -m 755 %[1]s/firecracker %[1]s/jailer /usr/local/bin/", pair.Dir())
}

// jailerAway is the path of the jailer while another program replaces it.
const jailerAway = "/root/jailer.away"

// fakeJailer replaces the jailer with a shell script.
func (i *installation) fakeJailer(script string) {
	i.shell.Run("mv /usr/local/bin/jailer %s && printf '%%s\\n' '#!/bin/sh' %s > /usr/local/bin/jailer && chmod 755 /usr/local/bin/jailer", jailerAway, Quote(script))
}

// trueJailer restores the jailer.
func (i *installation) trueJailer() { i.shell.Run("mv -f %s /usr/local/bin/jailer", jailerAway) }
