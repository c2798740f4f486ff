package system

import (
	"context"
	"time"

	"banger/api"
	"banger/internal/system/record"
	"banger/internal/vmid"
)

// Status is the state of this machine's banger.
type Status struct {
	Install record.Record `json:"install"`
	Helper  Service       `json:"helper"`
	Daemon  Service       `json:"daemon"`
	Running int           `json:"running"` // VMs, counted by systemd's units

	Firecracker FirecrackerState `json:"firecracker"` // used by VMs
	Names       NamesState       `json:"names"`
}

// NamesState is what the root helper reports about the names of VMs on the host.
type NamesState struct {
	Problem string   `json:"problem,omitempty"` // why they do not resolve; empty: they do
	Taken   []string `json:"taken,omitempty"`   // domains of theirs that the network has too
	Unknown bool     `json:"unknown,omitempty"` // the helper could not be asked; Problem says why
}

// Service is the state of one of the two daemons.
type Service struct {
	Unit    string    `json:"unit"`
	State   string    `json:"state"` // active, failed, inactive …
	Enabled string    `json:"enabled"`
	PID     int       `json:"pid,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Version string    `json:"version,omitempty"` // as reported by it
	Error   string    `json:"error,omitempty"`   // why it does not answer
}

// Healthy reports whether both daemons run and answer.
func (s Status) Healthy() bool { return s.Helper.healthy() && s.Daemon.healthy() }

func (s Service) healthy() bool { return s.State == "active" && s.Error == "" }

// Status examines the installation.
func (h *Host) Status(ctx context.Context) (Status, error) {
	if err := h.needSystemd(); err != nil {
		return Status{}, err
	}
	r, err := h.Record()
	if err != nil {
		return Status{}, err
	}
	m, err := h.Connect(ctx)
	if err != nil {
		return Status{}, err
	}
	s := Status{Install: r}
	if s.Helper, err = service(ctx, m, HelperUnit, h.AskHelper); err != nil {
		return s, err
	}
	if s.Daemon, err = service(ctx, m, DaemonUnit, h.AskDaemon); err != nil {
		return s, err
	}
	units, err := runningVMs(ctx, m)
	if err != nil {
		return s, err
	}
	s.Running = len(units)
	asking, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	s.Firecracker = h.AskFirecracker(asking)
	s.Names = h.AskNames(asking)
	return s, nil
}

func service(ctx context.Context, m Manager, unit string, ask func(context.Context) (Answer, error)) (Service, error) {
	state, err := m.State(ctx, unit)
	if err != nil {
		return Service{}, err
	}
	s := Service{Unit: unit, State: state.Active, Enabled: state.Enabled, PID: state.MainPID, Since: state.Since}
	if s.State != "active" {
		s.Error = "it is not running: " + state.Result
		return s, nil
	}
	asking, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	answer, err := ask(asking)
	if err != nil {
		s.Error = api.AsError(err).Message
	}
	s.Version = answer.Version
	return s, nil
}

// runningVMs returns the units of VMs that have not ended.
func runningVMs(ctx context.Context, m Manager) ([]string, error) {
	units, err := m.List(ctx, "banger-vm-*.service")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, u := range units {
		if _, ours := vmid.FromUnit(u.Name); ours && u.Active != "inactive" && u.Active != "failed" {
			names = append(names, u.Name)
		}
	}
	return names, nil
}
