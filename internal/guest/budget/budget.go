// Package budget says how much of a machine's memory banger's own processes may take,
// and so how much they carry at once (ADR 24), and gives back what a load has left.
package budget

import (
	"math"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// connectionCost is what a forwarded connection may take of a process at worst, in bytes:
// its windows both ways, and the buffers that they are in (ADR 24 has what was measured).
const connectionCost = 256 << 10

// MaxConnections is how many forwarded connections a process carries at most, however
// much memory there is.
const MaxConnections = 1000

// MaxSessions is how many sessions of other kinds a guest's agent carries at most.
const MaxSessions = 1024

// Guest is what the agent in a guest may take.
type Guest struct {
	Connections int   // forwarded ones at once
	Sessions    int   // commands, copies, of SSH: besides the connections
	Heap        int64 // bytes, for SetHeap
}

// OfGuest is a quarter of the guest's memory, in bytes, for connections, a floor for guests
// that are smaller than banger makes any. Sessions have places of their own: whatever the
// connections do, a command can be run.
func OfGuest(memory int64) Guest {
	return Guest{
		Connections: between(32, memory/4/connectionCost, MaxConnections),
		Sessions:    between(64, memory/4/connectionCost, MaxSessions),
		Heap:        max(24<<20, memory/4),
	}
}

// Forwarder is what the forwarder of one VM may take.
type Forwarder struct {
	Connections int   // at once, of all its ports
	Heap        int64 // bytes, for SetHeap
}

// OfForwarder is a thirty-second of the host's memory, in bytes: a host has several VMs.
func OfForwarder(memory int64) Forwarder {
	n := between(64, memory/32/connectionCost, MaxConnections)
	return Forwarder{Connections: n, Heap: 16<<20 + int64(n)*connectionCost}
}

// Daemon is what the daemon may take.
type Daemon struct {
	Streams     int   // to all guests at once
	Connections int   // of these, forwarded ones: the rest is for commands
	Heap        int64 // bytes, for SetHeap
}

// streamCost is what a stream may take of the daemon at worst, in bytes: yamux's window,
// and one buffer each way.
const streamCost = 320 << 10

// OfDaemon is an eighth of the host's memory, in bytes, for streams. The daemon also unpacks
// images and kernels, for which the limit of its heap leaves room.
func OfDaemon(memory int64) Daemon {
	n := between(512, memory/8/streamCost, 16<<10)
	return Daemon{Streams: n, Connections: n - n/4, Heap: max(512<<20, memory/4)}
}

func between(least int, n int64, most int) int {
	return int(min(max(int64(least), n), int64(most)))
}

// Memory is the machine's memory as the kernel counts it, in bytes (sysinfo(2): MemTotal
// of proc_meminfo(5)).
func Memory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return math.MaxInt64 // it fails for a bad address only
	}
	return int64(uint64(info.Totalram) * uint64(info.Unit))
}

// SetHeap has the garbage collector keep this process's memory below so many bytes, as
// far as it can: a soft limit, the same as GOMEMLIMIT, which takes precedence if it is set.
func SetHeap(bytes int64) {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(bytes)
	}
}
