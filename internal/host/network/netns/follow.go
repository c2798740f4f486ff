//go:build linux

package netns

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/host/network"
)

const (
	nftNewGen    = 0xf // the last message of each transaction (linux/netfilter/nf_tables.h)
	nlaFlags     = unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER
	nfgenmsgSize = 4 // family, version, resource (linux/netfilter/nfnetlink.h)
)

// followRules returns a socket on which the kernel reports all changes of the rules of
// this network namespace.
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

// touches reports whether messages contain a change of the host's table, or of anything
// in it. It is called for every change of any table, so it examines only what it must.
func touches(messages []byte) bool {
	for len(messages) >= unix.NLMSG_HDRLEN {
		size := int(binary.NativeEndian.Uint32(messages))
		kind := binary.NativeEndian.Uint16(messages[4:])
		if size < unix.NLMSG_HDRLEN || size > len(messages) {
			return true // truncated
		}
		if kind>>8 == unix.NFNL_SUBSYS_NFTABLES && kind != unix.NFNL_SUBSYS_NFTABLES<<8|nftNewGen && isOurs(messages[unix.NLMSG_HDRLEN:size]) {
			return true
		}
		messages = messages[min(align(size), len(messages)):]
	}
	return false
}

// align rounds up to the start of the next message or attribute (NLMSG_ALIGN and
// NLA_ALIGN, netlink(3)).
func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// isOurs reports whether a message about a table, or about an object in one, is about
// the host's table. In all of them the table's name is attribute 1 (NFTA_TABLE_NAME,
// NFTA_RULE_TABLE and so on, linux/netfilter/nf_tables.h).
func isOurs(data []byte) bool {
	if len(data) < nfgenmsgSize || data[0] != unix.NFPROTO_INET {
		return false
	}
	for data = data[nfgenmsgSize:]; len(data) >= unix.SizeofNlAttr; {
		size := int(binary.NativeEndian.Uint16(data))
		if size < unix.SizeofNlAttr || size > len(data) {
			return true // truncated
		}
		if binary.NativeEndian.Uint16(data[2:])&^nlaFlags == unix.NFTA_TABLE_NAME {
			return unix.ByteSliceToString(data[unix.SizeofNlAttr:size]) == network.TableName
		}
		data = data[min(align(size), len(data)):]
	}
	return false
}

// followResolver returns a watcher that reports when a file that names
// the host's resolver may have been written or replaced.
func followResolver() (io.ReadCloser, error) {
	changes, err := fsx.NewWatcher()
	if err != nil {
		return nil, err
	}
	watched := 0
	for _, path := range network.ResolverFiles() {
		for _, p := range []string{path, target(path)} {
			// The directory is watched: these files are replaced, not written.
			if _, err := changes.Add(filepath.Dir(p), unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO); err == nil {
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

// target returns the target of a symbolic link, or the path itself.
func target(path string) string {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		return to
	}
	return path
}
