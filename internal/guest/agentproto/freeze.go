package agentproto

// MaxListed is how many cgroups or processes an answer names at most.
const MaxListed = 64

// Frozen is what a freeze has stopped.
type Frozen struct {
	// Processes is how many have stopped, and Groups are the cgroups with such, as far as they
	// are listed.
	Processes int      `json:"processes"`
	Groups    []string `json:"groups,omitempty"`
	// Outside are processes that continue, although they are neither the agent nor the init.
	Outside []Process `json:"outside,omitempty"`
}

// Process is a process of the guest.
type Process struct {
	PID  int    `json:"pid"`
	Name string `json:"name,omitempty"`
}

// Thawed is the answer to a thaw.
type Thawed struct {
	// Lost: the guest has not been frozen until now. Its time was over, or it was started again.
	Lost bool `json:"lost,omitempty"`
}
