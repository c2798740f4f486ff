package agent

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

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
	h.Sessions = s.sessions.count()
	return h
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
