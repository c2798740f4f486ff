package vm

import (
	"context"

	"banger/api"
	"banger/internal/guest"
)

// Sessions lists what runs in a guest for clients. The guest is not waited for
// longer than for a channel.
func (s *Service) Sessions(ctx context.Context, ref string) ([]api.Session, error) {
	v, err := s.Find(ref)
	if err != nil {
		return nil, err
	}
	r, err := s.running(v.ID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	return (&guest.Client{Dial: r.open, VM: func() string { return v.Name }}).Sessions(ctx)
}
