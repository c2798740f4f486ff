package api

// Leak is a difference between the host's objects and the known VMs.
type Leak struct {
	Kind string `json:"kind"` // unit, process, dm, loop, netns, link, jail or directory
	Name string `json:"name"`
	ID   string `json:"id,omitempty"` // of the VM; empty: shared, or no VM's id
	VM   string `json:"vm,omitempty"` // its name, if there is such a VM
	// Missing: the VM runs and the host lacks the object; otherwise the object belongs to no VM.
	Missing bool   `json:"missing,omitempty"`
	Why     string `json:"why"`
}

// Leaks answers GET /v1/leaks.
type Leaks struct {
	Leaks    []Leak   `json:"leaks"`
	Compared []string `json:"compared"` // the kinds that were compared
	VMs      int      `json:"vms"`      // how many VMs are known
	Objects  int      `json:"objects"`  // how many objects were compared
}
