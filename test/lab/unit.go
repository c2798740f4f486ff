package lab

import "strings"

// isolationUnit: the unit and the jail of a running VM are as in docs/privileges.md.
func isolationUnit(l *Lab) {
	l.Start("unit")
	vm := l.VM("unit")
	unit, jail := "banger-vm-"+vm.ID+".service", "/var/lib/banger/jails/"+l.driver+"/"+vm.ID+"/root"
	l.Note("%s", last(l.Run("systemd-analyze security --no-pager --threshold=40 %s", unit)))
	for property, want := range map[string]string{"MemorySwapMax": "0", "IOWeight": "100", "NoNewPrivileges": "yes", "RestrictSUIDSGID": "yes"} {
		l.Equal(property, l.Run("systemctl show --value --property=%s %s", property, unit), want)
	}
	l.Equal("what of the jail is not root's and can grow", l.Run("find %s -xdev ! -user 0 \\( -type d -o -type f \\)", jail), "")
	// As the VMM: its namespaces, its user, its root directory.
	uid := l.Run("stat -c %%u /proc/%d", vm.PID)
	as := func(command string) string {
		return l.Run("nsenter --target %d --mount --net --ipc setpriv --reuid %s --regid %s --clear-groups sh -c '%s' 2>&1 || :", vm.PID, uid, uid, command)
	}
	if l.driver == "qemu" {
		// systemd's own way in for mounts is there, closed (/run/systemd/incoming); and the jail.
		l.Equal("what is there of the host's", as("find /run /tmp /var -mindepth 1 2>/dev/null | grep -v -e ^/run/systemd -e ^/var/lib"), "")
		l.Equal("sockets of the host's services", as("find /run /tmp /var -type s 2>/dev/null"), "")
		for _, path := range []string{"/tmp", "/var/tmp", "/run", "/dev/shm", "/dev/mqueue", jail, "/"} {
			if said := as("touch " + path + "/new"); !strings.Contains(said, "Read-only file system") && !strings.Contains(said, "Permission denied") && !strings.Contains(said, "No such file") {
				l.Failf("a VMM can write to %s: %q", path, said)
			}
		}
	} else {
		l.Run("if grep -qw userfaultfd /proc/misc; then test -c %[1]s/dev/userfaultfd; else ! test -e %[1]s/dev/userfaultfd; fi", jail)
	}
	// A second helper gives up, and the first one keeps working.
	l.Contains("a second helper", l.Run("timeout 100 /usr/local/lib/banger/current/bangerd-root 2>&1 || :"), "another bangerd-root (process")
	l.Equal("a guest's word", l.Guest("unit", "echo here"), "here")
	l.NoLeaks()
	l.Dev("banger vm delete --force unit")
	l.gone(vm.ID)
}

func last(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
