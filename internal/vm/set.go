package vm

import (
	"context"

	"banger/api"
)

// Set changes the size of a VM that does not run: it has that from its next start on.
func (s *Service) Set(ctx context.Context, ref string, req api.SetVM) (api.VM, error) {
	e, err := s.begin(ref, "vm.set", func(e *entry) error { return mayBeSet(e.view(), e.run != nil || e.sought()) })
	if err != nil {
		return api.VM{}, err
	}
	defer s.release(e)
	v := s.get(e)
	if req.VCPUs != nil {
		v.VCPUs = *req.VCPUs
	}
	if req.MemoryBytes != nil {
		v.MemoryBytes = *req.MemoryBytes
	}
	if err := s.checkSizes(v); err != nil {
		return api.VM{}, err
	}
	err = s.update(ctx, e, func(to *api.VM) { to.VCPUs, to.MemoryBytes = v.VCPUs, v.MemoryBytes })
	if err != nil {
		return api.VM{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.view(), nil
}

// mayBeSet refuses a VM that runs, or of which that cannot be told.
func mayBeSet(v api.VM, runs bool) error {
	if !runs {
		return nil
	}
	return api.Errorf(api.KindConflict, "cannot change the size of VM %s while it runs", v.Name).
		WithHint("banger vm stop %s, then the same again, then banger vm start %s", v.Name, v.Name)
}
