package vm

import (
	"slices"

	"banger/api"
)

// moves are the legal moves between states. A VM comes into being as creating;
// deleted is the end.
var moves = map[api.State][]api.State{
	api.StateCreating: {api.StateStopped, api.StateRunning, api.StateFailed, api.StateDeleted},
	api.StateRunning:  {api.StatePaused, api.StateStopped, api.StateFailed},
	api.StatePaused:   {api.StateRunning, api.StateStopped, api.StateFailed},
	api.StateStopped:  {api.StateRunning, api.StateFailed, api.StateDeleted},
	api.StateFailed:   {api.StateRunning, api.StateStopped, api.StateDeleted},
}

// mayMove tells whether a VM may go from one state to another. Staying is
// always allowed.
func mayMove(from, to api.State) bool {
	return from == to || slices.Contains(moves[from], to)
}
