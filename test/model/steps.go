package model

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// way is how a step is asked for.
type way uint8

const (
	byClient      way = iota // with the Go client
	byCLI                    // by a command
	byKilled                 // by a command that is killed
	byInterrupted            // by a command that is interrupted, as by Ctrl-C
)

// step is one thing that a client does. All of it follows from the seed and its number.
type step struct {
	n     int
	op    *operation
	chaos *chaos // instead of op
	track int
	name  int
	via   way
	grace int           // seconds
	delay time.Duration // before a kill
	lasts time.Duration // of a standstill, or of a full disk
	note  int
	port  int
	dice  uint64
}

// on is the step as an event of another track.
func (s *step) on(track int) *step {
	other := *s
	other.track = track
	return &other
}

func (s *step) String() string {
	if s.chaos != nil {
		return fmt.Sprintf("#%d %s%s after %s, for %s", s.n, s.chaos.name, map[way]string{byKilled: ", killed", byInterrupted: ", interrupted"}[s.via], s.delay, s.lasts)
	}
	text := fmt.Sprintf("#%d %s t%d%c", s.n, s.op.name, s.track, 'a'+s.name)
	switch s.via {
	case byCLI:
		text += " by command"
	case byKilled:
		text += fmt.Sprintf(" by a command killed after %s", s.delay)
	case byInterrupted:
		text += fmt.Sprintf(" by a command interrupted after %s", s.delay)
	}
	if s.op.detail != nil {
		text += " " + s.op.detail(s)
	}
	return text
}

// plan makes steps of a seed.
type plan struct {
	seed   uint64
	tracks int
	ops    []*operation
	chaos  []*chaos
	weight int // of all
}

func newPlan(seed uint64, tracks int, ops []*operation, all []*chaos) *plan {
	p := &plan{seed: seed, tracks: tracks, ops: ops, chaos: all}
	for _, o := range ops {
		p.weight += o.weight
	}
	for _, c := range all {
		p.weight += c.weight
	}
	return p
}

// step returns the step of a number.
func (p *plan) step(n int) *step {
	r := rand.New(rand.NewPCG(p.seed, uint64(n)))
	s := &step{
		n: n, track: r.IntN(p.tracks), name: r.IntN(2), grace: 1 + r.IntN(3), note: n + 1, port: r.IntN(2), dice: r.Uint64(),
		delay: time.Duration(r.ExpFloat64() * float64(25*time.Millisecond)).Round(time.Microsecond),
		lasts: time.Duration(50+r.IntN(400)) * time.Millisecond,
	}
	switch v := r.IntN(100); {
	case v < 6:
		s.via = byKilled
		s.delay *= 4 // it has to start first
	case v < 16:
		s.via = byCLI
	case v < 22:
		s.via = byInterrupted
		s.delay *= 4
	}
	at := r.IntN(p.weight)
	for _, o := range p.ops {
		if at -= o.weight; at < 0 {
			s.op = o
			if s.via == byInterrupted && o.goesOn {
				s.via = byCLI
			}
			return s
		}
	}
	for _, c := range p.chaos {
		if at -= c.weight; at < 0 {
			s.chaos = c
			return s
		}
	}
	panic("weights")
}
