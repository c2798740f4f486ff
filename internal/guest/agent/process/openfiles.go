package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// How many files commands may have open: systemd's limits for services, which databases and
// others rely on (systemd.exec(5), DefaultLimitNOFILE=; the kernel's defaults are 1024 and 4096).
// Programs that use select(2) cannot work with a soft limit above 1024.
const (
	softOpenFiles = 1024
	hardOpenFiles = 512 << 10
)

// RaiseOpenFiles lets this process and its children open hardOpenFiles files, or as many as the
// kernel allows.
func RaiseOpenFiles() error {
	limit := uint64(hardOpenFiles)
	if data, err := os.ReadFile("/proc/sys/fs/nr_open"); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64); err == nil {
			limit = min(limit, n)
		}
	}
	// Not unix.Prlimit: Go's runtime would not know, and would give children the old limits.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	return nil
}

// spareFile is a descriptor that is open only if this process has nearly softOpenFiles of them:
// the kernel gives the lowest number that is free (open(2)).
const spareFile = softOpenFiles - 128

// inheritOpenFiles lowers this process's own soft limit until restore is called, so that a
// program has the usual one from its first instruction on. It does nothing if others of this
// process could then open no file.
func inheritOpenFiles() (restore func()) {
	var limit unix.Rlimit
	_, err := unix.FcntlInt(spareFile, unix.F_GETFD, 0)
	if err == nil || unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &limit) != nil || limit.Cur <= softOpenFiles {
		return func() {}
	}
	low := unix.Rlimit{Cur: softOpenFiles, Max: limit.Max}
	if unix.Prlimit(0, unix.RLIMIT_NOFILE, &low, nil) != nil {
		return func() {}
	}
	return func() { _ = unix.Prlimit(0, unix.RLIMIT_NOFILE, &limit, nil) } // its own earlier limit
}

// lowerOpenFiles gives a process that has begun the usual soft limit, if it did not inherit it.
func lowerOpenFiles(pid int) {
	var limit unix.Rlimit
	if unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &limit) != nil || limit.Cur <= softOpenFiles {
		return
	}
	limit.Cur = softOpenFiles
	_ = unix.Prlimit(pid, unix.RLIMIT_NOFILE, &limit, nil)
}
