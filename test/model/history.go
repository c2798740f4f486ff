package model

import (
	"fmt"
	"slices"
	"strings"

	"banger/api"
)

// outcome is what a client was told, and what happened meanwhile.
type outcome struct {
	err   *api.Error // nil: it is done
	lost  bool       // the client was killed: it was told nothing
	vm    api.VM     // what it was shown
	note  int        // what it read
	lacks string     // what it was told of a note that is not there
	names []string   // what was removed

	kills int  // how often the daemon ended meanwhile
	full  bool // the disk was full meanwhile
}

func (o outcome) String() string {
	text := "done"
	switch {
	case o.lost:
		text = "nobody was told"
	case o.err != nil:
		text = fmt.Sprintf("%s: %s", o.err.Kind, strings.ReplaceAll(o.err.Message, "\n", " / "))
	}
	if o.note > 0 {
		text += fmt.Sprintf(" [%d]", o.note)
	}
	if o.lacks != "" {
		text += fmt.Sprintf(" [%s]", o.lacks)
	}
	if o.vm.Name != "" {
		text += fmt.Sprintf(" [%s %s]", o.vm.State, o.vm.Reason)
	}
	if o.kills > 0 {
		text += fmt.Sprintf(" (daemon ended %d times)", o.kills)
	}
	if o.full {
		text += " (disk full)"
	}
	return text
}

// event is an operation on a track that is over.
type event struct {
	*step
	begin, end int64 // of the track's clock
	out        outcome
	beside     []*event // those at the same time
	late       []int    // what commands may write yet whose clients are gone
}

func (e *event) String() string { return fmt.Sprintf("%v -> %v", e.step, e.out) }

func (e *event) is(k api.Kind) bool { return e.out.err != nil && e.out.err.Kind == k }

func (e *event) says(text string) bool {
	return e.out.err != nil && strings.Contains(e.out.err.Message, text)
}

// besides says whether one of these operations was at work at the same time.
func (e *event) besides(names ...string) bool {
	return slices.ContainsFunc(e.beside, func(o *event) bool { return slices.Contains(names, o.op.name) })
}

// names are those that the event's VM may have had when it was done: it was found by the
// first, and may have been renamed since.
func (e *event) names() []int {
	if e.besides("rename") {
		return []int{e.name, 1 - e.name}
	}
	return []int{e.name}
}

// besidesTaking says whether an operation at the same time may have taken a name.
func (e *event) besidesTaking(name int) bool {
	return slices.ContainsFunc(e.beside, func(o *event) bool {
		return (o.op.name == "create" || o.op.name == "run") && o.name == name || o.op.name == "rename" && o.name != name
	})
}

func (e *event) besideClaim() bool {
	return slices.ContainsFunc(e.beside, func(o *event) bool { return o.op.claims })
}

// atWork is said of a VM that another operation has for itself.
const atWork = "it is busy"

// nothingLeft is said of an operation that was cancelled and undone.
const nothingLeft = "nothing is left"

// after returns the states that the event may leave of a state; none if what was told
// cannot be.
func (e *event) after(s state) []state {
	all := e.leaves(s)
	if len(all) == 0 && s.vm[e.name].phase == absent && e.besideFleeting() {
		return []state{s}
	}
	return all
}

// besideFleeting says whether a VM of the name was there for a moment: a command that was
// interrupted when it had just made the VM removes it again. An event has one moment, so the
// model has no VM there.
func (e *event) besideFleeting() bool {
	return slices.ContainsFunc(e.beside, func(o *event) bool {
		return o.op.name == "run" && o.name == e.name && o.undoneByUser()
	})
}

// besideBoot says whether the VM of the name may have booted for a moment: a start of it did not
// succeed, or nobody knows. Sessions are possible then, and what they write stays on its disk.
func (e *event) besideBoot(name int) bool {
	return slices.ContainsFunc(e.beside, func(o *event) bool {
		return slices.Contains([]string{"run", "start", "restart"}, o.op.name) && o.name == name && (o.out.lost || o.out.err != nil)
	})
}

// undoneByUser says that a command was interrupted, and what it had begun undone.
func (e *event) undoneByUser() bool {
	return e.via == byInterrupted && e.is(api.KindCanceled) && e.says(nothingLeft)
}

// leaves is after where each event has one moment.
func (e *event) leaves(s state) []state {
	switch {
	case e.out.lost:
		return e.op.begun(s, e)
	case e.out.err == nil:
		return e.op.done(s, e)
	case e.is(api.KindConflict) && e.says(atWork):
		return only(e.besideClaim(), s)
	case e.undoneByUser():
		return only(e.op.mayUndo != nil && e.op.mayUndo(s.vm[e.name].phase), s)
	}
	return e.op.failed(s, e)
}

// explain returns the states that a track may be in after events, which began in one of
// the given: each order of the events counts that could have been, in which every event is
// allowed. There are none if nothing explains what clients were told.
func explain(from []state, events []*event) []state {
	for _, e := range events {
		e.beside = nil
		for _, o := range events {
			if o != e && o.begin < e.end && e.begin < o.end {
				e.beside = append(e.beside, o)
			}
		}
	}
	x := &explanation{events: events, seen: map[situation]bool{}, ends: map[state]bool{}}
	for _, s := range from {
		x.walk(make([]byte, len(events)), s)
	}
	var all []state
	for s := range x.ends {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b state) int { return strings.Compare(a.String(), b.String()) })
	return all
}

type situation struct {
	past  string // which events have been
	state state
}

type explanation struct {
	events []*event
	seen   map[situation]bool
	ends   map[state]bool
}

func (x *explanation) walk(past []byte, s state) {
	key := situation{string(past), s}
	if x.seen[key] {
		return
	}
	x.seen[key] = true
	rest := false
	for i, e := range x.events {
		if past[i] == 1 {
			continue
		}
		rest = true
		if !x.mayBeNext(past, e) {
			continue
		}
		for _, next := range e.after(s) {
			past[i] = 1
			x.walk(past, next)
			past[i] = 0
		}
	}
	if !rest {
		x.ends[s] = true
	}
}

// mayBeNext says that no other was over before the event began.
func (x *explanation) mayBeNext(past []byte, e *event) bool {
	for i, o := range x.events {
		if past[i] == 0 && o != e && o.end < e.begin {
			return false
		}
	}
	return true
}
