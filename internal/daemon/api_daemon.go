package daemon

import (
	"bytes"
	"net/http"
	"os"
	"runtime"
	"strconv"

	"banger/api"
)

func (s *Server) getDaemon(w http.ResponseWriter, r *http.Request) error {
	vms, err := s.svc.VMs.List(r.Context())
	if err != nil {
		return err
	}
	status := api.DaemonStatus{
		PID: os.Getpid(), Version: s.program.Version, Commit: s.program.Commit,
		Socket: s.socket, Home: s.home, StartedAt: s.started, VMs: len(vms),
		Goroutines: runtime.NumGoroutine(), OpenFiles: openFiles(), RSSBytes: residentBytes(),
	}
	if s.svc.Degraded != nil {
		status.Degraded = s.svc.Degraded()
	}
	for _, vm := range vms {
		if vm.State == api.StateRunning {
			status.Running++
		}
	}
	return answer(w, status, nil)
}

// stopDaemon answers before the daemon stops. Guests keep running.
func (s *Server) stopDaemon(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusNoContent)
	s.Stop()
	return nil
}

func (s *Server) getConfig(w http.ResponseWriter, _ *http.Request) error {
	config, err := s.svc.Config()
	if err != nil {
		return err
	}
	config.Values = orEmpty(config.Values)
	return answer(w, config, nil)
}

// openFiles counts this process's descriptors, less the one that counts them.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries) - 1
}

// residentBytes is this process's resident memory (proc(5), statm: the second
// field, in pages).
func residentBytes() int64 {
	data, err := os.ReadFile("/proc/self/statm")
	fields := bytes.Fields(data)
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
