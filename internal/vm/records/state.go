package records

import (
	"slices"

	"banger/api"
)

// moves are the legal moves between states. creating is a VM's first state, deleted its last.
var moves = map[api.State][]api.State{
	api.StateCreating: {api.StateStopped, api.StateRunning, api.StateSuspended, api.StateFailed, api.StateDeleted},
	api.StateRunning:  {api.StatePaused, api.StateSuspended, api.StateStopped, api.StateFailed},
	api.StatePaused:   {api.StateRunning, api.StateSuspended, api.StateStopped, api.StateFailed},
	// A suspended VM stands still, paused, until its memory is not on the disk any more.
	api.StateSuspended: {api.StatePaused, api.StateStopped, api.StateDeleted},
	api.StateStopped:   {api.StateRunning, api.StateFailed, api.StateDeleted},
	api.StateFailed:    {api.StateRunning, api.StateStopped, api.StateDeleted},
}

// mayMove reports whether a VM may move from one state to another. Staying is always allowed.
func mayMove(from, to api.State) bool {
	return from == to || slices.Contains(moves[from], to)
}
