package bootup

import (
	"fmt"
	"os"
	"syscall"
)

// How many files programs may have open: systemd's limits for services, which databases and
// others rely on (systemd.exec(5), DefaultLimitNOFILE=; the kernel's defaults are 1024 and 4096).
// Programs that use select(2) cannot work with a soft limit above 1024.
const (
	softOpenFiles = 1024
	hardOpenFiles = 512 << 10
)

// allowOpenFiles gives this process the limits of open files that its children are to have, and
// executes it again: when a Go program starts, its runtime raises its own soft limit to the hard
// one, and remembers the earlier one for the programs that it starts (syscall/rlimit.go). It
// returns nil in the process that has the limits.
func allowOpenFiles() error {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	if err == nil && limit.Max >= hardOpenFiles {
		return nil
	}
	if err == nil {
		err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: softOpenFiles, Max: hardOpenFiles})
	}
	if err == nil {
		err = syscall.Exec(os.Args[0], os.Args, os.Environ()) // the kernel names the file so (init/main.c)
	}
	return fmt.Errorf("raise the limit of open files: %w", err)
}
