package main

import (
	"os"
	"syscall"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// stranger is a user of the machine who is neither root nor the owner.
//
//	pids=N,…   VMMs and daemons
//	unit=NAME  a VM's unit
func stranger(args []string) []attack {
	var all []attack
	for _, pid := range numbers(args, "pids") {
		all = append(all, harm(pid)...)
	}
	for _, path := range []string{"/run/banger-root/helper.sock", "/run/systemd/private"} {
		all = append(all, reach("unix", path))
	}
	for _, path := range []string{
		"/run/banger-root/update-hold", "/var/lib/banger/data/banger.db", "/var/lib/banger/data/vms", "/var/lib/banger/jails",
		"/var/lib/banger/update/journal", "/dev/mapper/control", "/dev/loop-control", "/dev/dm-0", "/dev/loop0",
	} {
		all = append(all, open(path))
	}
	for _, dir := range []string{
		"/run/banger-root", "/run/banger", "/run/netns", "/var/lib/banger", "/var/lib/banger/boot", "/var/lib/banger/jails",
		"/var/cache/banger", "/usr/local/lib/banger", "/etc/banger",
	} {
		all = append(all, add(dir)...)
	}
	return append(all, change("/etc/banger/install.toml")[1],
		attack{"hold an update's lock", func() error { return lock("/run/banger-root/update-hold") }},
		attack{"stop a VM's unit", func() error {
			conn, err := dbus.ConnectSystemBus()
			if err != nil {
				return err
			}
			defer conn.Close()
			return conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1").
				Call("org.freedesktop.systemd1.Manager.StopUnit", 0, option(args, "unit"), "replace").Err
		}},
		attack{"remove a VM's device", func() error { return os.Remove("/dev/dm-0") }},
		attack{"enter the network of a VM", func() error {
			entries, err := os.ReadDir("/run/netns")
			if err != nil {
				return err
			}
			for _, e := range entries {
				f, openErr := os.Open("/run/netns/" + e.Name())
				if openErr != nil {
					err = openErr
					continue
				}
				err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
				f.Close()
				if err == nil {
					return nil
				}
			}
			return err
		}},
	)
}

// lock takes a lock like flock(1).
func lock(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
