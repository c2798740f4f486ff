package model

import "fmt"

// phase is what a VM is while nothing is at work on it.
type phase uint8

const (
	absent phase = iota // no VM has the name
	stopped
	running
	failed
)

func (p phase) String() string { return [...]string{"absent", "stopped", "running", "failed"}[p] }

// vm is what the model knows of one name.
type vm struct {
	phase phase
	note  int   // what the guest's file has; 0: the file is missing
	ports uint8 // which of the track's ports are published, a bit for each
}

// state is a track: two names between which VMs are renamed, and the name of an image.
// Operations on one track change no other, but for prune, which is an event of each.
type state struct {
	vm    [2]vm
	image bool
}

func (s state) String() string {
	text := ""
	for i, v := range s.vm {
		text += fmt.Sprintf("%c:%v", 'a'+i, v.phase)
		if v.phase != absent {
			text += fmt.Sprintf(" note=%d ports=%b", v.note, v.ports)
		}
		text += "; "
	}
	return text + fmt.Sprintf("image=%t", s.image)
}

// with is the state with another VM under a name.
func (s state) with(name int, v vm) state {
	s.vm[name] = v
	return s
}

// in is the state with the VM of a name in another phase.
func (s state) in(name int, p phase) state {
	s.vm[name].phase = p
	if p == absent {
		s.vm[name] = vm{}
	}
	return s
}

// portTaken says whether the VM of a name cannot publish what it has, as the other runs
// and publishes the same.
func (s state) portTaken(name int, ports uint8) bool {
	other := s.vm[1-name]
	return other.phase == running && other.ports&ports != 0
}

// only returns the states if a condition holds, else none.
func only(holds bool, all ...state) []state {
	if holds {
		return all
	}
	return nil
}
