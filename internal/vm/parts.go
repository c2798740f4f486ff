package vm

import (
	"slices"
	"sync"
	"time"

	"banger/api"
	"banger/internal/vm/records"
)

// startParts has how long each part of the step vmm took in the newest start of each VM. The zero value
// is ready.
type startParts struct {
	mu sync.Mutex
	of map[*records.Entry][]api.StepTiming
}

// begin returns the function that a driver calls with the duration of each part of a start.
func (p *startParts) begin(e *records.Entry) func(part string, took time.Duration) {
	p.forget(e)
	return func(part string, took time.Duration) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.of == nil {
			p.of = map[*records.Entry][]api.StepTiming{}
		}
		p.of[e] = append(p.of[e], api.StepTiming{Step: "vmm/" + part, Milliseconds: float64(took.Microseconds()) / 1000})
	}
}

// addTo adds the parts of the step vmm to an operation's timing.
func (p *startParts) addTo(e *records.Entry, steps []api.StepTiming) []api.StepTiming {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slices.IndexFunc(steps, func(t api.StepTiming) bool { return t.Step == "vmm" })
	if at < 0 {
		return steps
	}
	return slices.Insert(steps, at+1, p.of[e]...)
}

// forget forgets the parts of a start that is over.
func (p *startParts) forget(e *records.Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.of, e)
}
