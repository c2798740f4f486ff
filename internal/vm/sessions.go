package vm

import (
	"context"
	"time"

	"banger/api"
	"banger/internal/guest"
)

// sessionsTime bounds how long a guest may take to list its sessions: others are asked after it.
const sessionsTime = 15 * time.Second

// Sessions lists the sessions in a guest.
func (s *Service) Sessions(ctx context.Context, ref string) ([]api.Session, error) {
	v, err := s.Find(ref)
	if err != nil {
		return nil, err
	}
	r, err := s.running(v.ID)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, sessionsTime)
	defer cancel()
	list, err := (&guest.Client{Dial: r.open, VM: func() string { return v.Name }}).Sessions(within)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		err = guest.Unanswered(v.Name)
	}
	return list, err
}
