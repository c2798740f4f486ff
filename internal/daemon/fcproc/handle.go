package fcproc

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/proc"
)

// killWait bounds how long a VMM may take to end after SIGKILL. It has to finish its disk writes in
// flight.
const killWait = 30 * time.Second

// Handle is a VMM that was proven to be a VM's, held by its pidfd.
type Handle struct {
	process *proc.Process
	via     string
}

// Identity returns the process's identity for handles.json.
func (h *Handle) Identity() proc.Identity { return h.process.Identity() }

// PID returns the process's pid, which is meaningless once the process has ended.
func (h *Handle) PID() int { return h.process.PID() }

// Via returns the way by which the process was found.
func (h *Handle) Via() string { return h.via }

// Signal sends a signal to exactly this process; proc.ErrGone means that it has
// ended.
func (h *Handle) Signal(sig unix.Signal) error {
	if h.process.Ended() { // the kernel takes signals for a zombie
		return proc.ErrGone
	}
	return h.process.Signal(sig)
}

// Kill kills the process and waits until it has ended. It succeeds if the process has already ended.
func (h *Handle) Kill(ctx context.Context) error {
	if err := h.process.Kill(ctx, killWait); err != nil {
		return api.Errorf(api.KindInternal, "cannot end the VMM: %w", err).
			WithHint("a process that survives SIGKILL waits for a disk: look at `dmesg`")
	}
	return nil
}

// End is Kill, or, if sig is set, sends that signal and does not wait. It succeeds if the process has already
// ended.
func (h *Handle) End(ctx context.Context, sig api.Signal) error {
	if sig == "" {
		return h.Kill(ctx)
	}
	number, ok := sig.Number()
	if !ok {
		return api.Errorf(api.KindInvalid, "%.40q does not end a VMM", string(sig))
	}
	if err := h.Signal(unix.Signal(number)); err != nil && !errors.Is(err, proc.ErrGone) {
		return api.Errorf(api.KindInternal, "cannot send SIG%s to the VMM: %w", sig, err)
	}
	return nil
}

// Done is closed when the process has ended.
func (h *Handle) Done() <-chan struct{} { return h.process.Done() }

// Close releases the process, which itself keeps running.
func (h *Handle) Close() { h.process.Close() }

// Process returns the process itself, which the handle closes.
func (h *Handle) Process() *proc.Process { return h.process }
