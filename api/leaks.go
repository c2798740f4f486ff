package api

// Leak is a difference between what the host holds and what is known of VMs.
type Leak struct {
	Kind string `json:"kind"` // unit, process, dm, loop, netns, link, jail or directory
	Name string `json:"name"`
	ID   string `json:"id,omitempty"` // of the VM; empty: shared, or no VM's id
	VM   string `json:"vm,omitempty"` // its name, where there is such a VM
	// Missing: the VM runs and the host lacks it; else the host has it for nothing.
	Missing bool   `json:"missing,omitempty"`
	Why     string `json:"why"`
}

// Leaks answers GET /v1/leaks.
type Leaks struct {
	Leaks    []Leak   `json:"leaks"`
	Compared []string `json:"compared"` // the kinds that were looked at
	VMs      int      `json:"vms"`      // how many are known
	Objects  int      `json:"objects"`  // how many were looked at
}
