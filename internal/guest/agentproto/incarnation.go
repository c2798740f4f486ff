package agentproto

import "encoding/json"

// Mode is what became of a guest that was saved.
type Mode string

const (
	// ModeSame is that of a guest that continues, once. Nothing but time has passed.
	ModeSame Mode = "same"
	// ModeRewound is that of a guest that continues from an earlier state. What happened since has not, for it.
	ModeRewound Mode = "rewound"
	// ModeChild is that of a copy, beside the guest that was saved, and others.
	ModeChild Mode = "child"
)

// Incarnation tells one continuation of a saved guest from the others.
type Incarnation struct {
	// Generation is higher than that of each earlier incarnation that led to this one. A guest
	// that was never saved has 0.
	Generation uint64 `json:"generation"`
	// Lineage names the VM that the incarnation belongs to, at most maxLineage bytes.
	Lineage string `json:"lineage,omitempty"`
	Mode    Mode   `json:"mode"`
}

// Identity is what a copy of a guest has for its own.
type Identity struct {
	Hostname string `json:"hostname,omitempty"`
}

// Done is what an agent has done because of a new incarnation. Agents of an older banger do not
// answer with one.
type Done struct {
	// Frozen: everything but agent and init was frozen until all steps were done. Otherwise programs
	// have run before.
	Frozen bool `json:"frozen,omitempty"`
	// Running: they run now. If a step without which they must not run has failed, they do not.
	Running bool   `json:"running,omitempty"`
	Steps   []Step `json:"steps,omitempty"`
}

// StepState is how a step ended.
type StepState string

// The states of a step.
const (
	StepDone    StepState = "done"
	StepSkipped StepState = "skipped" // it does not apply to this guest
	StepFailed  StepState = "failed"
)

// The names of steps.
const (
	StepRandom   = "random"    // the kernel's random numbers are others
	StepClock    = "clock"     // within 100 ms of the host's
	StepSessions = "sessions"  // of clients of the saved guest: detached or ended
	StepHostname = "host name" // also in /etc/hosts and /etc/hostname
	// StepConnections: TCP connections to elsewhere are reset.
	StepConnections = "connections"
	// StepHostKeys: those of the image's own sshd.
	StepHostKeys  = "ssh host keys"
	StepThaw      = "thaw"       // only if it has failed
	StepMachineID = "machine-id" // machine-id(5)
)

// Step is one of the things that make an incarnation differ from others.
type Step struct {
	Name   string    `json:"name"`
	State  StepState `json:"state"`
	Detail string    `json:"detail,omitempty"` // what was done, or why not
}

const (
	maxLineage = 64
	// maxSteps and maxDetail, in bytes, keep an Ack below maxGreeting.
	maxSteps  = 12
	maxDetail = 120
	maxDone   = 3 << 10
)

// Valid reports whether the incarnation is one that an agent understands.
func (i *Incarnation) Valid() bool {
	return i != nil && i.Generation > 0 && len(i.Lineage) <= maxLineage && (i.Mode == ModeSame || i.Mode == ModeRewound || i.Mode == ModeChild)
}

// Valid reports whether an agent can take the identity.
func (i *Identity) Valid() bool { return i == nil || i.Hostname == "" || isHostname(i.Hostname) }

// Confirmed reports whether a step was done.
func (d *Done) Confirmed(step string) bool {
	if d == nil {
		return false
	}
	for _, s := range d.Steps {
		if s.Name == step {
			return s.State == StepDone
		}
	}
	return false
}

// fit bounds what a Done says.
func (d *Done) fit() *Done {
	if d == nil {
		return nil
	}
	short := *d
	short.Steps = nil
	for _, s := range d.Steps[:min(len(d.Steps), maxSteps)] {
		short.Steps = append(short.Steps, Step{cut(s.Name), StepState(cut(string(s.State))), cut(s.Detail)})
	}
	if text, err := json.Marshal(short); err != nil || len(text) > maxDone { // control characters grow sixfold
		short.Steps = nil // nothing is confirmed
	}
	return &short
}

func cut(s string) string { return s[:min(len(s), maxDetail)] }
