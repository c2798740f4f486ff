package daemon

import (
	"golang.org/x/sys/unix"
)

// loosenLimits removes the resource limits that the daemon inherited (getrlimit(2)): its VMs belong to
// all commands, and must not be bounded by the limits of the shell or script that happened to start the
// daemon. If it may not, it raises the soft limit to the hard one.
func loosenLimits() {
	for _, resource := range []int{unix.RLIMIT_FSIZE, unix.RLIMIT_CPU, unix.RLIMIT_DATA, unix.RLIMIT_AS, unix.RLIMIT_RSS} {
		free := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
		if unix.Prlimit(0, resource, &free, nil) == nil {
			continue
		}
		var limit unix.Rlimit
		if unix.Prlimit(0, resource, nil, &limit) == nil {
			limit.Cur = limit.Max
			_ = unix.Prlimit(0, resource, &limit, nil)
		}
	}
}
