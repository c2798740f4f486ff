package model

import (
	"slices"
	"testing"

	"banger/api"
	"banger/test/harness/session"
)

// TestModelKnowsLies: what a client may be told, and what not.
func TestModelKnowsLies(t *testing.T) {
	known := map[string]*operation{}
	for _, o := range operations() {
		known[o.name] = o
	}
	// did is an operation on the first name, and what came of it.
	did := func(name string, begin, end int64, change func(*event)) *event {
		e := &event{step: &step{op: known[name]}, begin: begin, end: end}
		if change != nil {
			change(e)
		}
		return e
	}
	fails := func(kind api.Kind, text string) func(*event) {
		return func(e *event) { e.out.err = api.Errorf(kind, "%s", text) }
	}
	shows := func(s api.State, pid int) func(*event) {
		return func(e *event) { e.out.vm = api.VM{State: s, PID: pid} }
	}
	writes := func(n int) func(*event) { return func(e *event) { e.note = n } }
	reads := func(n int) func(*event) { return func(e *event) { e.out.note = n } }
	lost := func(e *event) { e.out.lost = true }
	killed := func(n int, then func(*event)) func(*event) {
		return func(e *event) { then(e); e.out.kills = n }
	}
	ctrlC := func(then func(*event)) func(*event) {
		return func(e *event) { then(e); e.via = byInterrupted }
	}
	full := func(then func(*event)) func(*event) {
		return func(e *event) { then(e); e.out.full = true }
	}
	runs := state{}.with(0, vm{phase: running, note: 1})
	busy := fails(api.KindConflict, "cannot start VM t0a: it is busy (stopping)")
	gone := fails(api.KindNotFound, `no VM named "t0a"`)
	interrupted := fails(api.KindInternal, "it was interrupted")
	for name, c := range map[string]struct {
		from   state
		events []*event
		want   bool
	}{
		"created, and there":           {state{}, []*event{did("create", 1, 2, nil), did("show", 3, 4, shows(api.StateStopped, 0))}, true},
		"created, and not there":       {state{}, []*event{did("create", 1, 2, nil), did("show", 3, 4, gone)}, false},
		"created twice":                {state{}, []*event{did("create", 1, 2, nil), did("create", 3, 4, nil)}, false},
		"created twice at once":        {state{}, []*event{did("create", 1, 4, nil), did("create", 2, 3, fails(api.KindExists, "exists already"))}, true},
		"stopped, and runs":            {runs, []*event{did("stop", 1, 2, nil), did("show", 3, 4, shows(api.StateRunning, 7))}, false},
		"running without a process":    {runs, []*event{did("show", 1, 2, shows(api.StateRunning, 0))}, false},
		"busy with nothing":            {runs, []*event{did("stop", 1, 2, busy)}, false},
		"busy with a stop":             {runs, []*event{did("stop", 1, 4, nil), did("start", 2, 3, busy)}, true},
		"busy with what was over":      {runs, []*event{did("stop", 1, 2, nil), did("start", 3, 4, busy)}, false},
		"killed over a start":          {state{}.with(0, vm{phase: stopped}), []*event{did("start", 1, 4, fails(api.KindCanceled, "overtaken")), did("kill", 2, 3, nil)}, true},
		"a start overtaken by nothing": {state{}.with(0, vm{phase: stopped}), []*event{did("start", 1, 2, fails(api.KindCanceled, "overtaken")), did("kill", 3, 4, nil)}, false},
		"deleted while it runs":        {runs, []*event{did("delete", 1, 2, nil)}, false},
		"deletion, interrupted":        {runs, []*event{did("delete --force", 1, 2, killed(3, interrupted))}, false},
		"deletion on a full disk":      {runs, []*event{did("delete --force", 1, 2, full(fails(api.KindNoSpace, "the disk is full")))}, false},
		"start, interrupted once":      {state{}.with(0, vm{phase: stopped}), []*event{did("start", 1, 2, killed(1, interrupted))}, false},
		"start, interrupted twice":     {state{}.with(0, vm{phase: stopped}), []*event{did("start", 1, 2, killed(2, interrupted))}, true},
		"start, overtaken and interrupted": {state{}.with(0, vm{phase: stopped}), []*event{
			did("start", 1, 4, killed(1, fails(api.KindInternal, "was being undone when banger was restarted"))), did("kill", 2, 3, nil)}, true},
		"written while it booted, and undone": {state{}.with(0, vm{phase: stopped}), []*event{did("start", 1, 4, fails(api.KindCanceled, "overtaken")), did("kill", 2, 6, nil), did("exec write", 3, 5, writes(2))}, true},
		"written while it did not boot":       {state{}.with(0, vm{phase: stopped}), []*event{did("exec write", 1, 2, writes(2)), did("start", 3, 4, nil)}, false},
		"renamed over a forced deletion":      {state{}.with(0, vm{phase: running}), []*event{did("rename", 1, 4, nil), did("delete --force", 2, 3, nil)}, true},
		"renamed before a deletion":           {state{}.with(0, vm{phase: running}), []*event{did("rename", 1, 2, nil), did("delete --force", 3, 4, nil)}, false},
		"undone of nothing":                   {state{}.with(0, vm{phase: stopped}), []*event{did("start", 1, 2, killed(1, fails(api.KindInternal, "was being undone when banger was restarted")))}, false},
		"start told failed, and runs":         {state{}.with(0, vm{phase: stopped}), []*event{did("start", 1, 2, killed(2, interrupted)), did("show", 3, 4, shows(api.StateRunning, 7))}, false},
		"run on a full disk, and there":       {state{}, []*event{did("run", 1, 2, full(fails(api.KindNoSpace, "the disk is full"))), did("show", 3, 4, shows(api.StateRunning, 7))}, false},
		"written, and read":                   {runs, []*event{did("exec write", 1, 2, writes(2)), did("exec read", 3, 4, reads(2))}, true},
		"written, and lost":                   {runs, []*event{did("exec write", 1, 2, writes(2)), did("exec read", 3, 4, reads(1))}, false},
		"read before it was written":          {runs, []*event{did("exec write", 1, 4, writes(2)), did("exec read", 2, 3, reads(1))}, true},
		"two writers, the second wins":        {runs, []*event{did("cp in", 1, 2, writes(2)), did("cp in", 3, 4, writes(3)), did("cp out", 5, 6, reads(2))}, false},
		"two writers at once":                 {runs, []*event{did("cp in", 1, 4, writes(2)), did("cp in", 2, 3, writes(3)), did("cp out", 5, 6, reads(2))}, true},
		"a session cut by the daemon":         {runs, []*event{did("exec read", 1, 2, killed(1, fails(api.KindInternal, "EOF")))}, false},
		"a session cut by a kill":             {runs, []*event{did("exec read", 1, 4, fails(api.KindInternal, "EOF")), did("kill", 2, 3, nil)}, true},
		"a killed client's deletion":          {runs, []*event{did("delete --force", 1, 2, lost), did("show", 3, 4, gone)}, true},
		"a killed client's no deletion":       {runs, []*event{did("delete --force", 1, 2, lost), did("show", 3, 4, shows(api.StateRunning, 7))}, true},
		"a killed client's half":              {runs, []*event{did("delete --force", 1, 2, lost), did("show", 3, 4, shows(api.StateFailed, 0))}, false},
		"interrupted, and undone":             {state{}, []*event{did("run", 1, 2, ctrlC(fails(api.KindCanceled, "vm.run was cancelled; nothing is left of it"))), did("show", 3, 4, gone)}, true},
		"interrupted, and seen meanwhile":     {state{}, []*event{did("run", 1, 4, ctrlC(fails(api.KindCanceled, "cancelled, nothing is left"))), did("exec write", 2, 3, nil)}, true},
		"interrupted, and seen afterwards":    {state{}, []*event{did("run", 1, 2, ctrlC(fails(api.KindCanceled, "cancelled, nothing is left"))), did("exec write", 3, 4, nil)}, false},
		"cancelled by nobody":                 {state{}, []*event{did("run", 1, 2, fails(api.KindCanceled, "vm.run was cancelled; nothing is left of it"))}, false},
		"interrupted, and not undone":         {state{}, []*event{did("run", 1, 2, ctrlC(fails(api.KindCanceled, "vm.run was cancelled; nothing is left of it"))), did("show", 3, 4, shows(api.StateRunning, 7))}, false},
		"a deletion is not cancelled":         {runs, []*event{did("delete --force", 1, 2, ctrlC(fails(api.KindCanceled, "vm.delete was cancelled; nothing is left of it")))}, false},
		"pruned while it runs":                {runs, []*event{did("prune", 1, 2, func(e *event) { e.out.names = []string{"t0a"} })}, false},
		"renamed, and found by both":          {runs, []*event{did("rename", 1, 2, nil), did("show", 3, 4, shows(api.StateRunning, 7))}, false},
		"a VMM that died is noticed": {runs, []*event{did("kill -9 VMM", 1, 2, func(e *event) { e.out.names = []string{"t0a"} }),
			did("show", 3, 4, shows(api.StateRunning, 7))}, false},
		"a running VM without a VMM": {runs, []*event{did("kill -9 VMM", 1, 2, nil)}, false},
	} {
		if got := explain([]state{c.from}, c.events); len(got) > 0 != c.want {
			t.Errorf("%s: explained %t, want %t: %v", name, len(got) > 0, c.want, got)
		}
	}
}

// TestRestKnowsLies: what may be found at rest.
func TestRestKnowsLies(t *testing.T) {
	in := func(p phase, note int) state { return state{}.with(0, vm{phase: p, note: note}) }
	for name, c := range map[string]struct {
		states []state
		found  state
		late   []int
		want   []state
	}{
		"its note is lost":             {[]state{in(running, 2)}, in(running, 0), nil, nil},
		"its note, and another's":      {[]state{in(failed, 2), in(running, 2)}, in(running, 0), nil, nil},
		"it is written late":           {[]state{in(running, 2)}, in(running, 3), []int{3}, []state{in(running, 3)}},
		"another was to be written":    {[]state{in(running, 2)}, in(running, 4), []int{3}, nil},
		"what is stopped has its note": {[]state{in(running, 2), in(stopped, 2)}, in(stopped, 0), nil, []state{in(stopped, 2)}},
		"it is gone":                   {[]state{in(running, 2), in(stopped, 2)}, state{}, nil, nil},
	} {
		if got := fitting(c.states, c.found, c.late); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestStepsFollowFromTheSeed: another run makes the same steps, and another seed others.
func TestStepsFollowFromTheSeed(t *testing.T) {
	one, same := newPlan(7, 3, operations(), disturbances()), newPlan(7, 3, operations(), disturbances())
	other := newPlan(8, 3, operations(), disturbances())
	differ := 0
	for n := range 500 {
		if one.step(n).String() != same.step(n).String() {
			t.Fatalf("step %d is %v and %v", n, one.step(n), same.step(n))
		}
		if one.step(n).String() != other.step(n).String() {
			differ++
		}
	}
	if differ < 400 {
		t.Errorf("only %d of 500 steps of another seed are others", differ)
	}
}

// TestDaemonIsNotItsChild: a process that the daemon has forked and that executes nothing yet
// is none that may be killed as the daemon, whichever of them has the lower number.
func TestDaemonIsNotItsChild(t *testing.T) {
	daemon := session.Process{PID: 20, Parent: 1, Args: []string{"/bin/bangerd"}}
	forwarder := session.Process{PID: 21, Parent: 20, Args: []string{"/bin/bangerd", "banger-forwarder", "vm=1", "dir=/", "mode=user"}}
	for _, child := range []session.Process{{PID: 10, Parent: 20, Args: daemon.Args}, {PID: 30, Parent: 20, Args: daemon.Args}} {
		for _, all := range [][]session.Process{{forwarder, child, daemon}, {daemon, child, forwarder}} {
			if got := daemonOf(all); got != daemon.PID {
				t.Errorf("the daemon of %v is %d", all, got)
			}
		}
	}
	if got := daemonOf([]session.Process{forwarder}); got != 0 {
		t.Errorf("a forwarder is taken for the daemon: %d", got)
	}
}
