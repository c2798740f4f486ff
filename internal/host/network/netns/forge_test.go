//go:build linux

package netns

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tell sends a message to all who follow the rules, as the kernel does.
func tell() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, make([]byte, unix.NLMSG_HDRLEN), 0, &unix.SockaddrNetlink{
		Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTABLES - 1),
	})
}

// TestOnlyTheKernelTellsOfRules: netlink(7) lets nobody without CAP_NET_ADMIN send to
// this group, so what is read needs no other proof of where it comes from: who may
// send it may change the rules as well.
func TestOnlyTheKernelTellsOfRules(t *testing.T) {
	needsRoot(t)
	rules, err := followRules()
	if err != nil {
		t.Fatal(err)
	}
	defer rules.Close()
	refused := make(chan error)
	go func() {
		runtime.LockOSThread() // and never let go of: the thread ends with its user id
		const nobody = 65534
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			refused <- errno
			return
		}
		refused <- tell()
	}()
	if err := <-refused; !errors.Is(err, unix.EPERM) {
		t.Errorf("another user: %v", err)
	}
	if err := rules.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := tell(); err != nil {
		t.Fatal(err)
	}
	if n, err := rules.Read(make([]byte, 4096)); err != nil || n != unix.NLMSG_HDRLEN {
		t.Errorf("root's own message, and none of another user's, was to come: %d bytes, %v", n, err)
	}
}
