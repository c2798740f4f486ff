package agent

import (
	"context"
	"encoding/json"

	"banger/api"
	"banger/internal/guest/sockets"
	"banger/internal/guest/stdio"
)

// listPorts is a job that lists the listening ports in the guest.
type listPorts struct{}

func (listPorts) run(_ context.Context, m *stdio.Mux) stdio.Exit {
	found, err := sockets.Host.Listening()
	if err != nil {
		return stdio.Exit{Error: api.Errorf(api.KindInternal, "cannot list the guest's sockets: %w", err)}
	}
	list := make([]api.ListeningPort, 0, len(found))
	for _, s := range found {
		list = append(list, api.ListeningPort{
			Protocol: s.Protocol, Address: s.Address.Addr().String(), Port: int(s.Address.Port()),
			UID: s.UID, PID: s.PID, Process: s.Process,
		})
	}
	return stdio.Exit{Error: api.AsError(json.NewEncoder(m.Out(stdio.Stdout)).Encode(list))}
}

func (listPorts) signal(int)            {}
func (listPorts) resize(uint16, uint16) {}
