package observe

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"banger/internal/driver"
	"banger/internal/guest/agentproto"
	"banger/internal/vm/instance"
	"banger/internal/vm/tasks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// silent is a machine without an agent.
type silent struct{ driver.Machine }

func (silent) Done() <-chan struct{} { return nil }

// TestOneQuestionAtATime: a guest that does not answer is not asked again before the question has ended, and
// an answer that came too late is for the next look, once.
func TestOneQuestionAtATime(t *testing.T) {
	group := tasks.New()
	o := New(Options{}, nil, group)
	run := instance.New(instance.Options{}, group).New("0123456789ab", nil, silent{})
	w := o.of(run, "0123456789ab")
	if o.of(run, "0123456789ab") != w {
		t.Error("it is forgotten at once")
	}
	first, _ := o.ask(w)
	for range 3 {
		if again, late := o.ask(w); again != first || late != nil {
			t.Error("it is asked again")
		}
	}
	if first.answered() {
		t.Error("a guest without an agent has answered")
	}
	done := make(chan struct{})
	close(done)
	w.asked = &question{done: done, ended: time.Now(), health: agentproto.Health{Sessions: 7}}
	second, late := o.ask(w)
	if late == nil || late.health.Sessions != 7 || second == late {
		t.Errorf("the late answer: %+v", late)
	}
	w.asked = late
	w.take(late)
	if _, again := o.ask(w); again != nil {
		t.Error("an answer is used twice")
	}
	group.Stop()
	group.Wait()
	if !second.answered() || second.err == nil {
		t.Error("the question outlives the daemon")
	}
	if _, late := o.ask(w); late != nil {
		t.Error("an error is used as a late answer")
	}
	group.Wait()
	run.MarkGone()
	o.forget()
	if len(o.seen) != 0 {
		t.Error("an instance that has ended is remembered")
	}
}
