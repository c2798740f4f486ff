package vm

import (
	"context"
	"errors"

	"banger/api"
	"banger/internal/driver"
)

// damaged reports whether the VM's record cannot be read, so that hardly more than its name is
// known: each VM that was recorded has a driver. The caller holds Service.mu.
func (e *entry) damaged() bool { return e.vm.State == api.StateFailed && e.vm.Driver == "" }

// refuseDamaged refuses operations on a damaged VM except those that end it. The caller holds mu.
func (s *Service) refuseDamaged(e *entry, kind string) error {
	if !e.damaged() || kind == KindDelete || kind == kindKill {
		return nil
	}
	return api.Errorf(api.KindConflict, "cannot %s VM %s: %s", api.ActionOf(kind).Verb, e.vm.Name, e.vm.Reason).
		WithHint("its disk is in %s; if nobody needs it: banger vm delete %s", s.Paths.VM(e.id), e.vm.Name)
}

// recoverDamaged finds the machine of a damaged VM, of any driver.
func (s *Service) recoverDamaged(ctx context.Context, e *entry) (alive bool, err error) {
	for _, d := range s.Drivers {
		m, err := d.Recover(ctx, e.id, s.Paths.VM(e.id), s.readHandle(e.id))
		if err == nil {
			s.adopt(e, m)
			return true, nil
		}
		if !errors.Is(err, driver.ErrGone) {
			return false, err
		}
	}
	return false, nil
}
