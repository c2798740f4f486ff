package records

import (
	"banger/api"
	"banger/internal/vm/instance"
)

// Snapshot is a VM at one moment.
type Snapshot struct {
	Entry      *Entry
	VM         api.VM             // as recorded
	Run        *instance.Instance // nil if no VMM runs
	Busy       string             // the kind of its claim, "" for none
	Recovering bool               // it is not known yet whether a machine runs for it
	Late       bool               // that was not known when the daemon started
	Forgotten  bool               // it is not in the table any more
}

// Snapshot returns the VM at this moment.
func (e *Entry) Snapshot() Snapshot {
	e.table.mu.Lock()
	defer e.table.mu.Unlock()
	return e.snapshot()
}

// snapshot is Snapshot for a caller that holds the table's mu.
func (e *Entry) snapshot() Snapshot {
	return Snapshot{
		Entry: e, VM: e.vm, Run: e.run, Busy: e.busy, Recovering: e.recovering(), Late: e.found != nil,
		Forgotten: e.table.vms[e.id] != e,
	}
}

// View returns the VM in the form that clients see.
func (s Snapshot) View() api.VM {
	if s.Run == nil {
		return s.VM
	}
	return s.Run.View(s.VM)
}

// Damaged reports whether the VM's record cannot be read, so that hardly more than its name is
// known: each VM that was recorded has a driver.
func (s Snapshot) Damaged() bool { return s.VM.State == api.StateFailed && s.VM.Driver == "" }

// Reachable refuses a VM whose guest cannot be reached, because it does not run.
func (s Snapshot) Reachable() error {
	if s.Run == nil && s.Recovering {
		return api.Errorf(api.KindTimeout, "cannot determine yet whether VM %s runs: it is being recovered", s.VM.Name).
			WithHint("journalctl -u bangerd -u bangerd-root")
	}
	if s.VM.State == api.StateSuspended { // its VMM may still be ending
		return s.suspended()
	}
	if s.Run == nil {
		return s.notRunning()
	}
	if s.Run.Stalled() {
		return instance.ErrStalled(s.VM.Name)
	}
	if s.VM.State == api.StatePaused {
		return api.Errorf(api.KindSuspended, "VM %s is paused", s.VM.Name).WithHint("banger vm resume %s", s.VM.Name)
	}
	return nil
}

// MustRun refuses a VM that does not run.
func (s Snapshot) MustRun() error {
	if s.Run == nil && s.VM.State == api.StateSuspended {
		return s.suspended()
	}
	if s.Run == nil {
		return s.notRunning()
	}
	return nil
}

func (s Snapshot) suspended() error {
	return api.Errorf(api.KindSuspended, "VM %s is suspended", s.VM.Name).
		WithHint("banger vm start %[1]s   continues where it was; banger vm start --cold %[1]s   drops its memory", s.VM.Name)
}

func (s Snapshot) notRunning() error {
	return api.Errorf(api.KindConflict, "VM %s is not running (%s)", s.VM.Name, s.VM.State).
		WithHint("banger vm start %s", s.VM.Name)
}

// hasMemory reports whether the VM uses memory of the host, or is about to.
func (s Snapshot) hasMemory() bool {
	sought := s.Recovering && (s.VM.State == api.StateRunning || s.VM.State == api.StatePaused)
	return s.Run != nil || sought || s.Busy == KindRun || s.Busy == KindStart || s.Busy == KindRestart
}
