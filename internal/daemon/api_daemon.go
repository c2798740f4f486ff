package daemon

import (
	"bytes"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"time"

	"banger/api"
	"banger/internal/paths"
)

// daemonHandlers answer requests about the daemon and its host.
type daemonHandlers struct {
	*core
	program Program
	paths   paths.Paths
	started time.Time
}

func (h daemonHandlers) status(w http.ResponseWriter, r *http.Request) error {
	vms, err := h.svc.VMs.List(r.Context())
	if err != nil {
		return err
	}
	status := api.DaemonStatus{
		PID: os.Getpid(), Version: h.program.Version, Commit: h.program.Commit,
		Socket: h.paths.Socket(), Home: h.paths.Data, StartedAt: h.started, VMs: len(vms),
		Goroutines: runtime.NumGoroutine(), OpenFiles: openFiles(), RSSBytes: residentBytes(),
	}
	if h.svc.Degraded != nil {
		status.Degraded = h.svc.Degraded()
	}
	for _, vm := range vms {
		if vm.State == api.StateRunning {
			status.Running++
		}
	}
	return answer(w, status, nil)
}

// stop answers before the daemon stops. Guests keep running.
func (h daemonHandlers) stop(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusNoContent)
	h.lifetime.stop()
	return nil
}

func (h daemonHandlers) config(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "profile", "image")
	if err != nil {
		return err
	}
	config, err := h.svc.Config(values["profile"], values["image"])
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
