package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// vmm is a VMM that its guest has taken over: it runs with the VM's user id, in its
// cgroup, its network namespace and its root directory.
//
//	dir=PATH      the VM's own directory as it sees it
//	pids=N,…      other VMs' VMMs and the daemons
//	reach=A:P,…   addresses that serve something, out of the namespace
//	most=N        how many tasks it may have
func vmm(args []string) []attack {
	dir := option(args, "dir")
	var all []attack
	// Its jail: no new files, and no changes.
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		switch {
		case d.IsDir():
			all = append(all, add(path)...)
		case d.Type().IsRegular():
			all = append(all, change(path)...)
		case d.Type()&os.ModeSocket != 0: // it may change its mode
			all = append(all, move(path))
		}
		return nil
	})
	for _, pid := range numbers(args, "pids") {
		all = append(all, harm(pid)...)
	}
	// Services that the host offers by files, if they are visible at all.
	for _, socket := range []string{
		"/run/banger-root/helper.sock", "/run/banger/bangerd.sock", "/run/dbus/system_bus_socket",
		"/run/systemd/private", "/run/systemd/journal/stdout", "/run/systemd/notify",
	} {
		all = append(all, reach("unix", socket))
	}
	for address := range strings.SplitSeq(option(args, "reach"), ",") {
		if address != "" {
			all = append(all, reach("tcp", address), datagram(address))
		}
	}
	for _, path := range []string{
		"/dev/mapper/control", "/dev/loop-control", "/dev/kmsg", "/dev/mem", "/dev/vda", "/dev/dm-0", "/dev/loop0",
		"/var/lib/banger/data", "/var/lib/banger/update", "/etc/shadow", "/home/dev",
	} {
		all = append(all, open(path))
	}
	for _, dir := range []string{"/dev/shm", "/dev/mqueue", "/run", "/var/lib/banger/jails"} {
		all = append(all, add(dir)...)
	}
	return append(all,
		attack{"become root", func() error { return syscall.Setuid(0) }},
		attack{"open a raw socket", func() error { return socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) }},
		attack{"open a packet socket", func() error { return socket(unix.AF_PACKET, unix.SOCK_RAW, 0) }},
		attack{"mount", func() error { return unix.Mount("none", dir, "tmpfs", 0, "") }},
		attack{"enter the host's network", func() error {
			f, err := os.Open("/proc/1/ns/net")
			if err != nil {
				return err
			}
			defer f.Close()
			return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		}},
		attack{"have more tasks than the unit allows", func() error { return tasks(numbers(args, "most")) }},
	)
}

func socket(domain, kind, protocol int) error {
	fd, err := unix.Socket(domain, kind, protocol)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// datagram sends one datagram, and checks whether it was sent: a rule that refuses it
// makes the call fail (EPERM) or answers with an ICMP error.
func datagram(address string) attack {
	return attack{"send a datagram to " + address, func() error {
		conn, err := net.DialTimeout("udp", address, dialTime)
		if err != nil {
			return err
		}
		defer conn.Close()
		for range 3 {
			if _, err := conn.Write([]byte("x")); err != nil {
				return err
			}
		}
		return nil
	}}
}

// tasks creates processes until one is refused.
func tasks(most []int) error {
	if len(most) != 1 {
		return errors.New("most=N is missing")
	}
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	var pids []int
	defer func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(pid, nil, 0, nil)
		}
	}()
	for range most[0] + 1 {
		pid, err := syscall.ForkExec(self, []string{self, "sleep", "60"}, &syscall.ProcAttr{})
		if err != nil {
			return fmt.Errorf("after %d processes: %w", len(pids), err)
		}
		pids = append(pids, pid)
	}
	return nil
}
