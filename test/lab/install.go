package lab

import (
	"strings"

	"banger/internal/commands"
)

// ballast is the file that fills the disk of a lab.
const ballast = "/var/lib/banger/ballast"

// fillDisk leaves that many bytes free.
func (l *Lab) fillDisk(free int) {
	l.Run("fallocate -l $(($(df --output=avail -B1 /var/lib/banger | tail -1) - %d)) %s", free, ballast)
}

// Ready makes sure that the build is installed and answers, and that no VM is left
// unless they are kept. For scenarios that install versions themselves, any version is
// accepted.
func (l *Lab) Ready(keep, anyVersion bool) {
	// Leftovers of other scenarios are removed, and their messages are not reported
	// again.
	l.messages.cursor = strings.TrimPrefix(l.Run("rm -rf %s %s; systemctl stop 'scenario-*'; journalctl -q -n 0 --show-cursor", ballast, faults), "-- cursor: ")
	if !anyVersion && l.Try("cmp -s %s/bangerd /usr/local/lib/banger/current/bangerd", build).Status != 0 ||
		l.Try("systemctl -q is-active bangerd bangerd-root && test -x /usr/local/bin/banger").Status != 0 {
		l.Install()
	}
	l.Answering()
	if !keep {
		l.DeleteAll()
	}
}

// installAgain: an installation over an existing one changes neither the VMs nor the
// files, and installs new programs.
func installAgain(l *Lab) {
	l.Start("web")
	before := l.Fingerprint("web")
	l.Run("%s/banger system install", build)
	l.Answering()
	l.Unharmed("web", before)
	l.Contains("the status", l.Run("banger system status"), owner)
	for _, name := range commands.Names {
		l.Run("test $(readlink -f /usr/local/bin/%s) = $(readlink -f /usr/local/lib/banger/current/banger)", name)
	}
	l.Dev("banger version")
	l.Run("systemd-analyze verify bangerd.service bangerd-root.service banger.slice")
	l.NoLeaks()
	l.Unharmed("web", before)
}

// installRefusals: what must not be installed or removed is refused, without harm.
func installRefusals(l *Lab) {
	l.Start("web")
	before := l.Fingerprint("web")
	l.RootFails(build+"/banger system install --owner nonesuch", "nonesuch")
	l.RootFails("banger system uninstall", "run")
	l.Fails("banger system restart", "root")
	l.Fails("banger system uninstall --purge --force", "root")
	l.Unharmed("web", before)

	// A record that was tampered with is not obeyed; VMs keep running.
	l.Run("cp -p /etc/banger/install.toml /root/kept.toml && sed -i 's/^uid = .*/uid = 0/' /etc/banger/install.toml")
	l.RootFails("systemctl restart bangerd-root", "")
	l.Contains("the journal", l.Run("journalctl -b -u bangerd-root -n 20 --no-pager -o cat"), "install.toml")
	l.Run("cp -p /root/kept.toml /etc/banger/install.toml && systemctl reset-failed bangerd-root bangerd; systemctl restart bangerd-root bangerd")
	l.Answering()
	l.Unharmed("web", before)
	l.NoLeaks()
}

// hostState lists everything that an installation could leave: units, users, links,
// rules, mounts, devices, files.
const hostState = `
export SYSTEMD_BUS_TIMEOUT=300s
units=$(systemctl list-unit-files --no-legend) || exit 1
echo units; echo "$units" | awk '{print $1, $2}' | grep -v -e '^dev-' -e '^sys-'
systemctl list-units --all --plain --no-legend | awk '{print $1}' | grep -i banger
echo users; cat /etc/passwd /etc/group /etc/subuid /etc/subgid
echo links; ip -o link | awk '{print $2}'; ip netns | awk '{print $1}'; ip route; ip rule
echo rules; nft list ruleset
echo mounts; awk '{print $1, $2, $3}' /proc/self/mounts | grep -v -e /run/user -e ^nsfs.*internet
echo devices; dmsetup ls; losetup -a
echo settings; sysctl -n net.ipv4.ip_forward
echo files; find /etc /usr/local /opt /var/lib /var/cache /run /lib/systemd -xdev \( -path /var/lib/systemd -o -path /run/systemd -o -path /run/udev -o -path /run/user -o -path /run/log -o -path /run/credentials -o -path '*.lock' \) -prune -o -print | sort`

// uninstallPurge: after uninstall --purge the host is as it was before.
func uninstallPurge(l *Lab) {
	l.Run("banger system uninstall --purge --force")
	before := l.Run(hostState)
	if strings.Contains(before, "bangerd") {
		l.Failf("a purge left:\n%s", lines(before, "bangerd"))
	}
	l.Equal("what the purge left that was not there before", diff(l.first, before), "")
	l.Install()
	l.Start("web")
	l.RootFails("banger system uninstall --purge", "run")
	// Without --purge the VMs stay for a later installation.
	l.Run("banger system uninstall --force")
	l.Run("%s/banger system install --owner %s", build, owner)
	l.Answering()
	l.Equal("the state of a VM of the former installation", string(l.VM("web").State), "stopped")
	l.Boot("web", "banger vm start web")
	l.Run("banger system uninstall --purge --force")
	l.Equal("what changed on the host", diff(before, l.Run(hostState)), "")
}

// lines returns the lines of text that contain part.
func lines(text, part string) string {
	var found []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return strings.Join(found, "\n")
}

// diff lists the lines that only one of two texts has.
func diff(before, after string) string {
	count := map[string]int{}
	for line := range strings.Lines(before) {
		count[strings.TrimSpace(line)]--
	}
	for line := range strings.Lines(after) {
		count[strings.TrimSpace(line)]++
	}
	var changed []string
	for _, text := range []string{before, after} {
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			switch {
			case count[line] < 0:
				changed = append(changed, "- "+line)
			case count[line] > 0:
				changed = append(changed, "+ "+line)
			}
			delete(count, line)
		}
	}
	return strings.Join(changed, "\n")
}
