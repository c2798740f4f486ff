package records

import (
	"slices"

	"banger/api"
)

// moves are the legal moves between states. creating is a VM's first state, deleted its last.
var moves = map[api.State][]api.State{
	api.StateCreating: {api.StateStopped, api.StateRunning, api.StateFailed, api.StateDeleted},
	api.StateRunning:  {api.StatePaused, api.StateStopped, api.StateFailed},
	api.StatePaused:   {api.StateRunning, api.StateStopped, api.StateFailed},
	api.StateStopped:  {api.StateRunning, api.StateFailed, api.StateDeleted},
	api.StateFailed:   {api.StateRunning, api.StateStopped, api.StateDeleted},
}

// mayMove reports whether a VM may move from one state to another. Staying is always allowed.
func mayMove(from, to api.State) bool {
	return from == to || slices.Contains(moves[from], to)
}
