package daemon

import (
	"golang.org/x/sys/unix"
)

// loosenLimits takes off the limits of resources that whoever started the daemon had
// (getrlimit(2)): its VMs are everybody's, whose files, memory and processor time would
// end at what one shell or script was allowed. Where it may not, the soft limit becomes the
// hard one.
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
