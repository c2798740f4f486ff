// Package filesync copies files of the owner into guests: at each start of a VM, and when the
// owner asks for it. The daemon runs as the owner, and reads nothing that the owner could not.
package filesync

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/hostfiles"
	"banger/internal/vm/records"
)

// Syncer copies files into the guests of the VMs in a table.
type Syncer struct {
	table  *records.Table
	wanted func() (hostfiles.Wanted, error)
	logger *slog.Logger

	mu   sync.Mutex
	busy map[string]chan struct{} // closed at the end of the work in the VM of that id
}

// New returns a Syncer, which asks for the settings each time.
func New(table *records.Table, wanted func() (hostfiles.Wanted, error), logger *slog.Logger) *Syncer {
	return &Syncer{table: table, wanted: wanted, logger: logger, busy: map[string]chan struct{}{}}
}

// enter waits until nobody else copies into a VM: two copies of one file would disturb each other.
func (s *Syncer) enter(ctx context.Context, id string) (leave func(), err error) {
	for {
		s.mu.Lock()
		other, busy := s.busy[id]
		if !busy {
			own := make(chan struct{})
			s.busy[id] = own
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.busy, id)
				s.mu.Unlock()
				close(own)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// SyncFiles copies everything into a running VM, and tells what became of each entry.
func (s *Syncer) SyncFiles(ctx context.Context, ref string) (api.SyncedFiles, error) {
	at, err := s.table.Look(ref)
	if err == nil {
		err = at.Reachable()
	}
	if err != nil {
		return api.SyncedFiles{}, err
	}
	wanted, err := s.wanted()
	if err != nil {
		return api.SyncedFiles{}, err
	}
	done, err := s.run(ctx, at.Run.Open, at.VM, wanted)
	if err != nil {
		return api.SyncedFiles{}, err
	}
	return api.SyncedFiles{VM: at.VM.Name, Files: done}, nil
}

// AtStart copies what is wanted into a guest that has just answered. What fails is reported, and
// does not keep the VM from running. An error means that ctx has ended.
func (s *Syncer) AtStart(ctx context.Context, v api.VM, wanted hostfiles.Wanted, dial guest.Dial, report api.Report) error {
	if len(wanted.Rules) == 0 && !wanted.GitIdentity {
		return nil
	}
	report(api.Progress{Step: "agent", Message: "copying files into the guest"})
	done, err := s.run(ctx, dial, v, wanted)
	for _, text := range notes(v.Name, done) {
		s.logger.Warn("a file was not copied into a guest", "vm", v.ID, "reason", text)
		report(api.Progress{Step: api.StepNote, Message: text})
	}
	return err
}

// notes are the lines that a start shows: what is missing on the host is one of them.
func notes(vm string, done []api.SyncedFile) []string {
	var lines, missing []string
	for _, f := range done {
		switch f.Result {
		case api.SyncMissing:
			missing = append(missing, f.Host)
		case api.SyncFailed:
			lines = append(lines, fmt.Sprintf("cannot copy %s into VM %s: %s", f.Host, vm, f.Reason))
		}
		for _, w := range f.Warnings {
			lines = append(lines, f.Host+": "+w)
		}
	}
	if len(missing) > 0 {
		lines = append(lines, fmt.Sprintf("not copied into VM %s: this host has no %s", vm, strings.Join(missing, ", ")))
	}
	return lines
}

// run copies everything. An error means that ctx has ended.
func (s *Syncer) run(ctx context.Context, dial guest.Dial, v api.VM, wanted hostfiles.Wanted) ([]api.SyncedFile, error) {
	leave, err := s.enter(ctx, v.ID)
	if err != nil {
		return nil, err
	}
	defer leave()
	return hostfiles.Copy(ctx, dial, v, wanted)
}
