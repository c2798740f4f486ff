package records

import (
	"regexp"
	"testing"

	"banger/internal/paths"
)

// storedKind matches a kind of operation as it is stored.
var storedKind = regexp.MustCompile(`\b(vm|image|kernel)\.[a-z]`)

// TestRefusalsNameNoKind: an error says what a VM is doing, not how that is stored.
func TestRefusalsNameNoKind(t *testing.T) {
	kinds := []string{KindCreate, KindRun, KindStart, KindStop, KindRestart, KindKill, KindCommit, KindPrune, KindDelete, KindRecover, "vm.publish", "vm.rename", "vm.set"}
	s := New(Options{Paths: paths.Paths{Data: "/data"}})
	for _, kind := range kinds {
		for _, busy := range kinds {
			e := &Entry{table: s, busy: busy}
			e.vm.Name = "dev"
			if err := s.refuseBusy(e, kind); storedKind.MatchString(err.Error()) {
				t.Errorf("%s during %s: %v", kind, busy, err)
			}
		}
		e := &Entry{table: s}
		e.vm.Name, e.vm.State = "dev", "failed"
		if err := s.refuseDamaged(e, kind); err != nil && storedKind.MatchString(err.Error()) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
