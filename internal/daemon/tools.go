package daemon

import (
	"context"
	"fmt"
	"io"

	"banger/api"
	"banger/internal/daemon/lock"
	"banger/internal/paths"
	"banger/internal/store"
	"banger/internal/system/record"
)

// The exit statuses of `bangerd --check-migrations`, which an update asks a new
// version before it is switched to.
const (
	MigratesNot   = 0 // the schema is the one that this version knows
	Migrates      = 1 // the schema will be changed
	MigrateCannot = 2 // the schema is newer, or the store is damaged
)

// checkMigrations reports what this version would change in the store, and changes nothing.
func checkMigrations(ctx context.Context, p paths.Paths, out, errOut io.Writer) int {
	s, err := store.Look(ctx, p.Store())
	if err != nil {
		fmt.Fprintf(errOut, "bangerd: %s\n", api.AsError(err).Message)
		return MigrateCannot
	}
	fmt.Fprintf(out, "schema %d, known %d\n", s.Have, s.Known)
	if s.Migrates() {
		return Migrates
	}
	return MigratesNot
}

// moveStore backs the store up or restores it. An update runs it as the user who owns the store. The
// daemon's lock ensures that no daemon runs.
func moveStore(ctx context.Context, p paths.Paths, backUp, restore string, errOut io.Writer) int {
	err := func() error {
		if !record.ValidVersion(backUp + restore) {
			return api.Errorf(api.KindInvalid, "%q names no backup", backUp+restore)
		}
		held, err := lock.Take(ctx, p.Lock(), "")
		if err != nil {
			return err
		}
		defer held.Close()
		if backUp != "" {
			return store.BackUp(ctx, p.Store(), backUp)
		}
		return store.Restore(ctx, p.Store(), restore)
	}()
	if err != nil {
		fmt.Fprintf(errOut, "bangerd: %s\n", api.AsError(err).Message)
		return 1
	}
	return 0
}
