package update

import (
	"context"
	"fmt"
	"sync"
	"time"

	"banger/api"
	"banger/internal/update/journal"
)

// execTimeout bounds the command that is run in each guest.
const execTimeout = 20 * time.Second

func (m Machine) execIn(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, execTimeout, fmt.Errorf("no answer within %s", execTimeout))
	defer cancel()
	if err := m.Exec(ctx, id); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return nil
}

// maxParallel is how many guests are asked at the same time.
const maxParallel = 8

// eachGuest calls do for every guest, maxParallel at a time.
func eachGuest(guests []journal.Guest, do func(*journal.Guest)) {
	var all sync.WaitGroup
	slots := make(chan struct{}, maxParallel)
	for i := range guests {
		slots <- struct{}{}
		all.Go(func() {
			do(&guests[i])
			<-slots
		})
	}
	all.Wait()
}

// failedChecks returns the names of the checks that failed.
func failedChecks(checks []api.Check) []string {
	var names []string
	for _, c := range checks {
		if c.Status == doctorFail {
			names = append(names, c.Name)
		}
	}
	return names
}
