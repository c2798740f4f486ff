//go:build linux

package netns

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/network"
)

const (
	nftNewGen    = 0xf // ends each transaction's messages (linux/netfilter/nf_tables.h)
	nfgenmsgSize = 4   // family, version, resource (linux/netfilter/nfnetlink.h)
)

// followRules returns a socket on which the kernel tells all changes of the
// rules of this network namespace.
func followRules() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.NFNLGRP_NFTABLES)
	}
	if err != nil {
		return nil, errors.Join(api.Errorf(api.KindInternal, "cannot follow the firewall's rules: %w", err), closeFD(fd))
	}
	return os.NewFile(uintptr(fd), "rules"), nil
}

func closeFD(fd int) error {
	if fd < 0 {
		return nil
	}
	return unix.Close(fd)
}

// transaction is what has been told of a change that may not be told in full yet.
type transaction struct{ gone bool }

// removes takes further messages, and tells whether a transaction that they
// complete removed the host's table and did not make it again.
func (t *transaction) removes(messages []byte) bool {
	all, err := syscall.ParseNetlinkMessage(messages)
	if err != nil {
		return false
	}
	removed := false
	for _, m := range all {
		switch m.Header.Type {
		case unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELTABLE:
			t.gone = t.gone || isOurs(m.Data)
		case unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE:
			t.gone = t.gone && !isOurs(m.Data)
		case unix.NFNL_SUBSYS_NFTABLES<<8 | nftNewGen:
			removed, t.gone = t.gone || removed, false
		}
	}
	return removed
}

// isOurs tells whether a message about a table is about the host's.
func isOurs(data []byte) bool {
	if len(data) < nfgenmsgSize || data[0] != unix.NFPROTO_INET {
		return false
	}
	attrs, err := nl.ParseRouteAttr(data[nfgenmsgSize:])
	if err != nil {
		return false
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.NFTA_TABLE_NAME {
			return unix.ByteSliceToString(a.Value) == network.TableName
		}
	}
	return false
}

// followResolver returns an inotify(7) descriptor that tells when a file that
// names the host's resolver may have been written or replaced.
func followResolver() (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	changes := os.NewFile(uintptr(fd), "resolver")
	watched := 0
	for _, path := range network.ResolverFiles() {
		for _, p := range []string{path, target(path)} {
			// The directory is watched: these files are replaced, not written.
			if _, err := unix.InotifyAddWatch(fd, filepath.Dir(p), unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO); err == nil {
				watched++
			}
		}
	}
	if watched == 0 {
		changes.Close()
		return nil, os.ErrNotExist
	}
	return changes, nil
}

// target returns what a symbolic link leads to, or the path itself.
func target(path string) string {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		return to
	}
	return path
}
