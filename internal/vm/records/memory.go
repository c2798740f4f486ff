package records

import (
	"cmp"
	"slices"

	"banger/api"
	"banger/internal/size"
)

// Memory is how much memory all running VMs together may have.
type Memory struct {
	Bytes int64
	Whose string // such as "this host"
}

// checkMemory refuses a start after which the running VMs would have more memory than there is
// (docs/adr/0025). name is empty for a new VM. id is the VM's, whose own memory is counted once. The
// caller holds mu until the VM counts, so that two concurrent starts are not both admitted.
func (t *Table) checkMemory(id, name string, bytes int64, force bool) error {
	if force || t.Memory == nil {
		return nil
	}
	var others []api.VM
	var sum int64
	for _, e := range t.vms {
		if at := e.snapshot(); e.id != id && at.hasMemory() {
			other := e.vm
			if at.Busy == KindRestart {
				other.MemoryBytes = max(other.MemoryBytes, other.AtNextStart().MemoryBytes)
			}
			others, sum = append(others, other), sum+other.MemoryBytes
		}
	}
	host := t.Memory()
	if host.Bytes <= 0 || bytes+sum <= host.Bytes {
		return nil
	}
	err := api.Errorf(api.KindConflict, "cannot start %s: it asks for %s of memory, %s, and %s has %s",
		called(name), size.Format(bytes), theyHave(others, sum), host.Whose, size.Format(host.Bytes))
	if len(others) == 0 { // a limit that became smaller
		return err.WithHint("--force starts it anyway, or give it less: --memory 1G")
	}
	return err.WithHint("banger vm stop %s, or --force: the host may then run out of memory, and Linux may kill a VM", freeing(others, bytes+sum-host.Bytes))
}

func called(name string) string {
	if name == "" {
		return "a new VM"
	}
	return "VM " + name
}

func theyHave(others []api.VM, sum int64) string {
	switch len(others) {
	case 0:
		return "no other VM runs"
	case 1:
		return "VM " + others[0].Name + " has " + size.Format(sum)
	}
	return "the others that run have " + size.Format(sum)
}

// freeing returns the smallest VM that frees enough memory when it stops, or the largest VM if none
// does.
func freeing(others []api.VM, enough int64) string {
	slices.SortFunc(others, func(a, b api.VM) int {
		return cmp.Or(cmp.Compare(a.MemoryBytes, b.MemoryBytes), cmp.Compare(a.Name, b.Name))
	})
	for _, v := range others {
		if v.MemoryBytes >= enough {
			return v.Name
		}
	}
	return others[len(others)-1].Name
}
