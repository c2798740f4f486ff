package agent

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/guest/agentproto"
)

func (s *server) health() *agentproto.Health {
	h := &agentproto.Health{BootID: s.BootID, Version: s.Version, AgentGoroutines: runtime.NumGoroutine(), Init: initName()}
	h.Hostname, _ = os.Hostname()
	_, _ = fmt.Sscan(readProc("uptime"), &h.UptimeSeconds) // 0 without it
	_, _ = fmt.Sscan(readProc("loadavg"), &h.Load[0], &h.Load[1], &h.Load[2])
	h.MemoryBytes = kilobytes(readProc("meminfo"), "MemTotal:")
	h.MemoryAvailable = kilobytes(readProc("meminfo"), "MemAvailable:")
	h.AgentMemoryBytes = kilobytes(readProc("self/status"), "VmRSS:")
	h.Sessions = len(s.list())
	if s.Network != nil {
		h.Network = s.Network()
	}
	h.Disk = diskOf(cmp.Or(s.Root, "/"))
	return h
}

// diskOf returns the size of the file system at path (statfs(2)), and what its users may still
// write; nil if that is unknown.
func diskOf(path string) *api.GuestDisk {
	var fs unix.Statfs_t
	if unix.Statfs(path, &fs) != nil {
		return nil
	}
	block := int64(fs.Frsize)
	return &api.GuestDisk{Bytes: int64(fs.Blocks) * block, AvailableBytes: int64(fs.Bavail) * block}
}

// NetworkOf returns the state and the counters of a network device, which are files in dir, a copy
// of /sys/class/net (sysfs-class-net of the kernel's ABI documentation).
func NetworkOf(dir, device string) *api.GuestNetwork {
	n := &api.GuestNetwork{}
	if _, err := os.Stat(filepath.Join(dir, device)); err != nil {
		return n
	}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, device, name))
		if err != nil { // EINVAL: the carrier of a device that is down
			return ""
		}
		return strings.TrimSpace(string(data))
	}
	count := func(name string) int64 {
		v, _ := strconv.ParseInt(read("statistics/"+name), 10, 64) // 0 if it is missing
		return v
	}
	n.Device, n.Up = device, read("carrier") == "1"
	n.RxBytes, n.RxPackets = count("rx_bytes"), count("rx_packets")
	n.TxBytes, n.TxPackets = count("tx_bytes"), count("tx_packets")
	return n
}

// initName returns the name of process 1: this process, or the image's init with this process
// beside it.
func initName() string {
	if os.Getpid() == 1 {
		return api.InitAgent
	}
	return strings.TrimSpace(readProc("1/comm"))
}

// readProc returns a file of proc(5), or "" if there is none.
func readProc(name string) string {
	b, _ := os.ReadFile("/proc/" + name)
	return string(b)
}

// kilobytes finds "key 123 kB" and returns it in bytes.
func kilobytes(text, key string) int64 {
	lines := bufio.NewScanner(bytes.NewReader([]byte(text)))
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == key {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n << 10
		}
	}
	return 0
}
