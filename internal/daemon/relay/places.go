package relay

import (
	"sync"

	"banger/api"
	"banger/internal/guest/budget"
)

// Places bounds the streams to all guests by the host's memory.
type Places struct {
	room budget.Daemon

	mu                   sync.Mutex
	streams, connections int // connections are among the streams
}

// NewPlaces returns places of which nobody has one yet.
func NewPlaces(room budget.Daemon) *Places { return &Places{room: room} }

// Enter takes a place for a stream. A refusal is such that a client that had one before a restart of
// the daemon tries again.
func (p *Places) Enter(connection bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.streams >= p.room.Streams:
		return api.Errorf(api.KindTimeout, "%d streams to guests are open already, which is what this host's memory allows", p.streams).
			WithHint("end some of them first: banger vm sessions")
	case connection && p.connections >= p.room.Connections:
		return api.Errorf(api.KindTimeout, "%d connections to guests are open already, which is what this host's memory allows", p.connections)
	}
	p.streams++
	if connection {
		p.connections++
	}
	return nil
}

// Leave gives a place back.
func (p *Places) Leave(connection bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams--
	if connection {
		p.connections--
	}
}
