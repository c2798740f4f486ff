package op

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"banger/api"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal is a Log that also takes the steps' own notes, in one order.
type journal struct {
	mu    sync.Mutex
	lines []string
	fail  string // the call that fails
	full  bool   // nothing can be recorded
	ended []api.Event
}

func (j *journal) note(format string, args ...any) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	line := fmt.Sprintf(format, args...)
	j.lines = append(j.lines, line)
	switch {
	case line == j.fail:
		return errors.New("the log is broken")
	case j.full && !strings.HasPrefix(line, "do "):
		return api.Errorf(api.KindNoSpace, "the disk is full")
	}
	return nil
}

func (j *journal) BeginOperation(_ context.Context, row api.Operation) error {
	return j.note("begin %s at %s", row.Kind, row.Step)
}

func (j *journal) EnterStep(_ context.Context, _, step string, undoing bool) error {
	return j.note("enter %s undoing=%t", step, undoing)
}

func (j *journal) PutBack(context.Context, string) error { return j.note("put back") }

func (j *journal) EndOperation(_ context.Context, last api.Event) error {
	j.mu.Lock()
	j.ended = append(j.ended, last)
	j.mu.Unlock()
	return j.note("end %s", last.Operation.Status)
}

func (j *journal) EndedOperation(_ context.Context, id string) (*api.Event, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.ended {
		if j.ended[i].Operation.ID == id {
			return &j.ended[i], nil
		}
	}
	return nil, nil
}

func (j *journal) EndedOperations(_ context.Context, digits string) (ids []string, _ error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.ended {
		if strings.HasPrefix(e.Operation.ID, digits) {
			ids = append(ids, e.Operation.ID)
		}
	}
	return ids, nil
}

func (j *journal) RequestedOperation(_ context.Context, request string) (*api.Event, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.ended {
		if j.ended[i].Operation.Request == request {
			return &j.ended[i], nil
		}
	}
	return nil, nil
}

func (j *journal) step(name string, err error) Step {
	return Step{
		Name: name,
		Do:   func(context.Context, api.Report) error { j.note("do %s", name); return err },
		Undo: func(context.Context) error { j.note("undo %s", name); return nil },
	}
}

func manager(t *testing.T, log Log) *Manager {
	m := NewManager(log, slog.New(slog.DiscardHandler))
	t.Cleanup(m.Close)
	return m
}

func start(t *testing.T, m *Manager, steps ...Step) *Op {
	t.Helper()
	o, err := m.Start(t.Context(), Plan{Kind: "test", Target: "x", Steps: steps})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestIntentComesBeforeTheStep(t *testing.T) {
	j := &journal{}
	o := start(t, manager(t, j), j.step("one", nil), j.step("two", nil))
	if err := o.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"begin test at one", "do one", "enter two undoing=false", "do two", "end done"}
	if diff := cmp.Diff(want, j.lines); diff != "" {
		t.Error(diff)
	}
	if got := o.Timing(); len(got) != 2 || got[0].Step != "one" || got[1].Step != "two" {
		t.Errorf("timing: %v", got)
	}
}

func TestFailureUndoesInReverse(t *testing.T) {
	j := &journal{}
	o := start(t, manager(t, j), j.step("one", nil), j.step("two", api.Errorf(api.KindNoSpace, "disk full")), j.step("three", nil))
	err := o.Wait(t.Context())
	if api.KindOf(err) != api.KindNoSpace {
		t.Errorf("error is %v", err)
	}
	want := []string{
		"begin test at one", "do one", "enter two undoing=false", "do two",
		"enter two undoing=true", "undo two", "enter one undoing=true", "undo one", "end failed",
	}
	if diff := cmp.Diff(want, j.lines); diff != "" {
		t.Error(diff)
	}
}

func TestKeepUndoesNothing(t *testing.T) {
	j := &journal{}
	o := start(t, manager(t, j), j.step("one", nil), j.step("two", Keep(api.Errorf(api.KindTimeout, "no answer"))))
	if err := o.Wait(t.Context()); api.KindOf(err) != api.KindTimeout || err.Error() != "no answer" {
		t.Errorf("error is %v", err)
	}
	if slices.ContainsFunc(j.lines, func(l string) bool { return strings.HasPrefix(l, "undo") }) {
		t.Errorf("something was undone: %v", j.lines)
	}
}

// TestWhatUndoingKeepsIsTold: the error says why it failed and what stays, and undoing
// goes on.
func TestWhatUndoingKeepsIsTold(t *testing.T) {
	j := &journal{}
	two := j.step("two", api.Errorf(api.KindTimeout, "no answer"))
	two.Undo = func(context.Context) error {
		return Keep(api.Errorf(api.KindInternal, "its disk is kept").WithHint("remove it"))
	}
	err := start(t, manager(t, j), j.step("one", nil), two).Wait(t.Context())
	if api.KindOf(err) != api.KindTimeout || err.Error() != "no answer; its disk is kept" || api.AsError(err).Hint != "remove it" {
		t.Errorf("error is %v", err)
	}
	if !slices.Contains(j.lines, "undo one") {
		t.Errorf("not undone: %v", j.lines)
	}
}

func TestCancelUndoesAndSaysSo(t *testing.T) {
	j := &journal{}
	m := manager(t, j)
	entered := make(chan struct{})
	wait := Step{Name: "wait", Do: func(ctx context.Context, _ api.Report) error {
		close(entered)
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	o := start(t, m, j.step("one", nil), wait)
	<-entered
	if err := m.Cancel(o.ID()); err != nil {
		t.Fatal(err)
	}
	if err := o.Wait(t.Context()); api.KindOf(err) != api.KindCanceled {
		t.Errorf("error is %v", err)
	}
	if !slices.Contains(j.lines, "undo one") {
		t.Errorf("not undone: %v", j.lines)
	}
}

func TestRefusedByTheLogTouchesNothing(t *testing.T) {
	j := &journal{fail: "begin test at one"}
	_, err := manager(t, j).Start(t.Context(), Plan{Kind: "test", Steps: []Step{j.step("one", nil)}})
	if err == nil || slices.Contains(j.lines, "do one") {
		t.Errorf("error %v, log %v", err, j.lines)
	}
}

// TestRefusedMayBeginAnother: what a refused operation's end begins or asks for waits
// for nothing.
func TestRefusedMayBeginAnother(t *testing.T) {
	j := &journal{fail: "begin test at one"}
	m := manager(t, j)
	ended := make(chan error, 1)
	go func() {
		var other error
		_, err := m.Start(t.Context(), Plan{Kind: "test", Steps: []Step{j.step("one", nil)}, Ended: func(*Op) {
			m.List()
			_, other = m.Start(t.Context(), Plan{Kind: "other", Steps: []Step{j.step("one", nil)}})
		}})
		if err == nil {
			other = errors.New("it was not refused")
		}
		ended <- other
	}()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for itself")
	}
}

func TestResume(t *testing.T) {
	for name, tc := range map[string]struct {
		left Unfinished
		want []string
		says string // of why it failed
	}{
		"finishes from its step": {
			Unfinished{Operation: api.Operation{ID: "a", Step: "two", Status: api.OpRunning}, Attempts: 1},
			[]string{"do two", "enter three undoing=false", "do three", "end done"}, "",
		},
		"goes on undoing": {
			Unfinished{Operation: api.Operation{ID: "a", Step: "two", Status: api.OpRunning}, Undoing: true, Attempts: 1},
			[]string{"enter two undoing=true", "undo two", "enter one undoing=true", "undo one", "end failed"},
			"starting the VM did not succeed, and was being undone when banger was restarted",
		},
		"gives up at the second attempt": {
			Unfinished{Operation: api.Operation{ID: "a", Step: "one", Status: api.OpRunning}, Attempts: 2},
			[]string{"enter one undoing=true", "undo one", "end failed"},
			"starting the VM was interrupted by restarts of banger, twice at the same step",
		},
		"an unknown step means the first": {
			Unfinished{Operation: api.Operation{ID: "a", Step: "gone", Status: api.OpRunning}, Attempts: 1},
			[]string{"enter one undoing=false", "do one", "enter two undoing=false", "do two", "enter three undoing=false", "do three", "end done"}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			j := &journal{}
			o := manager(t, j).Resume(Plan{Kind: "vm.start", Steps: []Step{j.step("one", nil), j.step("two", nil), j.step("three", nil)}}, tc.left)
			<-o.Done()
			if diff := cmp.Diff(tc.want, j.lines); diff != "" {
				t.Error(diff)
			}
			if err := o.Snapshot().Error; (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Message, tc.says) {
				t.Errorf("its error: %v", err)
			}
		})
	}
}

// TestResumeOfWhatEnds: half of a VM that is being removed is of no use, however often the
// daemon was killed meanwhile.
func TestResumeOfWhatEnds(t *testing.T) {
	for attempts, want := range map[int]api.OpStatus{1: api.OpDone, 2: api.OpDone, endAttempts: api.OpDone, endAttempts + 1: api.OpFailed} {
		j := &journal{}
		left := Unfinished{Operation: api.Operation{ID: "a", Step: "one", Status: api.OpRunning}, Attempts: attempts}
		o := manager(t, j).Resume(Plan{Kind: "vm.delete", FreesSpace: true, Steps: []Step{j.step("one", nil), j.step("two", nil)}}, left)
		<-o.Done()
		if got := o.Snapshot().Status; got != want {
			t.Errorf("at attempt %d it is %s, want %s: %v", attempts, got, want, j.lines)
		}
	}
}

func TestCloseInterruptsWithoutUndoing(t *testing.T) {
	j := &journal{}
	m := NewManager(j, slog.New(slog.DiscardHandler))
	entered := make(chan struct{})
	o := start(t, m, j.step("one", nil), Step{Name: "wait", Do: func(ctx context.Context, _ api.Report) error {
		close(entered)
		<-ctx.Done()
		return context.Cause(ctx)
	}})
	<-entered
	m.Close()
	if last := j.lines[len(j.lines)-1]; last != "enter wait undoing=false" {
		t.Errorf("log goes on after the interruption: %v", j.lines)
	}
	err := o.Follow(t.Context(), func(api.Event) error { return nil })
	if !errors.Is(err, errStopping) {
		t.Errorf("a follower is told %v", err)
	}
}

// TestCancelledTooLate: a step that stays is not cancelled, nor is what it failed of hidden,
// but the end of the daemon interrupts it.
func TestCancelledTooLate(t *testing.T) {
	for name, c := range map[string]struct {
		fails bool
		stop  bool // the daemon
		want  string
	}{"done": {want: "end done"}, "failed": {fails: true, want: "end failed"}, "interrupted": {stop: true, want: "enter stays undoing=false"}} {
		t.Run(name, func(t *testing.T) {
			j := &journal{}
			m := NewManager(j, slog.New(slog.DiscardHandler))
			entered, goOn := make(chan struct{}), make(chan struct{})
			stays := Step{Name: "stays", Stays: true, Do: func(ctx context.Context, _ api.Report) error {
				close(entered)
				<-goOn
				if c.fails {
					return errors.New("no luck")
				}
				if c.stop {
					<-ctx.Done()
				}
				return context.Cause(ctx)
			}}
			o := start(t, m, j.step("one", nil), stays)
			<-entered
			if err := m.Cancel(o.ID()); err != nil {
				t.Fatal(err)
			}
			close(goOn)
			if c.stop {
				m.Close()
			}
			<-o.Done()
			if err := o.Snapshot().Error; c.fails && (err == nil || err.Message != "no luck") {
				t.Errorf("its error: %v", err)
			}
			if last := j.lines[len(j.lines)-1]; last != c.want {
				t.Errorf("log: %v", j.lines)
			}
			m.Close()
		})
	}
}

// TestBefore: what has to wait is neither done nor undone before, not even when it is
// cancelled, and the next daemon finds it as it was.
func TestBefore(t *testing.T) {
	for want, undoing := range map[string]bool{"do one": false, "undo one": true} {
		t.Run(want, func(t *testing.T) {
			j := &journal{}
			left := Unfinished{Operation: api.Operation{ID: "a", Step: "one", Status: api.OpRunning}, Undoing: undoing, Attempts: 1}
			plan := Plan{Kind: "test", Steps: []Step{j.step("one", nil)}, Before: func(ctx context.Context) error {
				<-ctx.Done()
				return context.Cause(ctx)
			}}
			m := NewManager(j, slog.New(slog.DiscardHandler))
			o := m.Resume(plan, left)
			if err := m.Cancel(o.ID()); err != nil {
				t.Fatal(err)
			}
			m.Close()
			<-o.Done()
			if diff := cmp.Diff([]string{"put back"}, j.lines); diff != "" {
				t.Error(diff)
			}
			plan.Before = func(context.Context) error { return j.note("do wait") }
			j.lines = nil
			<-manager(t, j).Resume(plan, left).Done()
			if j.lines[0] != "do wait" || !slices.Contains(j.lines, want) {
				t.Errorf("when there is nothing to wait for: %v", j.lines)
			}
		})
	}
}

func TestFollowersSeeAllAndTheEnd(t *testing.T) {
	const reports = 10_000 // far more than is remembered
	o := start(t, manager(t, &journal{}), Step{Name: "count", Do: func(_ context.Context, report api.Report) error {
		for i := range reports {
			report(api.Progress{Step: "count", Done: int64(i), Total: reports})
		}
		return nil
	}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var last int64 = -1
			var end *api.Operation
			err := o.Follow(t.Context(), func(e api.Event) error {
				if e.Progress != nil {
					if e.Progress.Done <= last {
						t.Errorf("progress went from %d to %d", last, e.Progress.Done)
					}
					last = e.Progress.Done
				}
				if e.Operation != nil {
					end = e.Operation
				}
				return nil
			})
			if err != nil || end == nil || end.Status != api.OpDone || last != reports-1 {
				t.Errorf("error %v, end %+v, last report %d", err, end, last)
			}
		})
	}
	wg.Wait()
	if len(o.events) > maxEvents+1 {
		t.Errorf("%d events are remembered", len(o.events))
	}
}

func TestEndedOperationsAreForgotten(t *testing.T) {
	j := &journal{}
	m := manager(t, j)
	for range keepEnded + 20 {
		if err := start(t, m, j.step("one", nil)).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(m.List()); n > keepEnded+1 {
		t.Errorf("%d operations are remembered", n)
	}
}

func TestAnEarlierDaemonsEndIsTold(t *testing.T) {
	j := &journal{}
	first := manager(t, j)
	o, err := first.Start(t.Context(), Plan{Kind: "test", Steps: []Step{j.step("one", nil)}, Result: func(*Op) *api.Result {
		return &api.Result{Image: &api.Image{Source: "proof"}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	<-o.Done()
	next := manager(t, j)
	again, err := next.Get(o.ID())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Manager{first, next} {
		if byBeginning, err := m.Get(o.ID()[:6]); err != nil || byBeginning.ID() != o.ID() {
			t.Errorf("by the beginning of its id: %v", err)
		}
		if _, err := m.Get(o.ID()[:3]); api.KindOf(err) != api.KindNotFound {
			t.Errorf("by three digits: %v", err)
		}
	}
	var last api.Event
	if err := again.Follow(t.Context(), func(e api.Event) error { last = e; return nil }); err != nil {
		t.Fatal(err)
	}
	if last.Operation.Status != api.OpDone || last.Result.Image.Source != "proof" {
		t.Errorf("told %+v", last)
	}
	if _, err := first.Get("unknown"); api.KindOf(err) != api.KindNotFound {
		t.Errorf("an unknown operation gives %v", err)
	}
}

func TestWhatFreesSpaceNeedsNone(t *testing.T) {
	j := &journal{full: true}
	m := manager(t, j)
	if _, err := m.Start(t.Context(), Plan{Kind: "test", Steps: []Step{j.step("one", nil)}}); api.KindOf(err) != api.KindNoSpace {
		t.Errorf("ordinary work on a full disk gives %v", err)
	}
	o, err := m.Start(t.Context(), Plan{Kind: "test", FreesSpace: true, Steps: []Step{j.step("one", nil), j.step("two", nil)}})
	if err == nil {
		err = o.Wait(t.Context())
	}
	if err != nil || !slices.Contains(j.lines, "do two") {
		t.Errorf("%v, %v", err, j.lines)
	}
}

func TestGate(t *testing.T) {
	j := &journal{}
	m := manager(t, j)
	refusal := api.Errorf(api.KindConflict, "an update is being proven")
	m.Gate(func(kind string) error {
		if kind == "test" {
			return refusal
		}
		return nil
	})
	ended := 0
	plan := Plan{Kind: "test", Target: "x", Steps: []Step{j.step("one", nil)}, FreesSpace: true, Ended: func(*Op) { ended++ }}
	if _, err := m.Start(t.Context(), plan); !errors.Is(err, refusal) || ended != 1 {
		t.Errorf("%v, ended %d times", err, ended)
	}
	if len(j.lines) != 0 || len(m.List()) != 0 {
		t.Errorf("something was begun: %v", j.lines)
	}
	// What an earlier daemon began goes on.
	o := m.Resume(plan, Unfinished{Operation: api.Operation{ID: "1", Kind: "test", Status: api.OpRunning}})
	if err := o.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	plan.Kind = "other"
	if _, err := m.Start(t.Context(), plan); err != nil {
		t.Error(err)
	}
}

// TestGateAndList: whoever shuts the gate and lists then knows all that there is.
func TestGateAndList(t *testing.T) {
	m := manager(t, &journal{})
	var shut atomic.Bool
	m.Gate(func(string) error {
		if shut.Load() {
			return errors.New("shut")
		}
		return nil
	})
	begun := make(chan int)
	for range 4 {
		go func() {
			n := 0
			for {
				if _, err := m.Start(context.WithoutCancel(t.Context()), Plan{Kind: "test", Steps: []Step{{Name: "one", Do: func(context.Context, api.Report) error { return nil }}}}); err != nil {
					begun <- n
					return
				}
				if n++; n == 10 {
					shut.Store(true)
				}
			}
		}()
	}
	for !shut.Load() {
		runtime.Gosched()
	}
	listed, all := len(m.List()), 0
	for range 4 {
		all += <-begun
	}
	if all <= keepEnded && listed != all {
		t.Errorf("%d were listed of %d", listed, all)
	}
}

// TestEndIsRecordedAtLast: an operation is done although its end cannot be recorded at
// first, and nothing of it is undone.
func TestEndIsRecordedAtLast(t *testing.T) {
	j := &journal{fail: "end done"}
	m := manager(t, j)
	if err := start(t, m, j.step("one", nil)).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	j.mu.Lock()
	j.fail = ""
	j.mu.Unlock()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		j.mu.Lock()
		ends := len(j.ended)
		j.mu.Unlock()
		if ends == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not tried again")
		}
	}
	if slices.ContainsFunc(j.lines, func(l string) bool { return strings.HasPrefix(l, "undo") }) {
		t.Errorf("something was undone: %v", j.lines)
	}
}

// TestWhatIsDoneIsNotLeft: an operation that has done its last step when the daemon stops
// is done, and not left to the next daemon.
func TestWhatIsDoneIsNotLeft(t *testing.T) {
	j := &journal{}
	m := NewManager(j, slog.New(slog.DiscardHandler))
	begun := make(chan struct{})
	o := start(t, m, Step{Name: "one", Do: func(ctx context.Context, _ api.Report) error {
		close(begun)
		<-ctx.Done()
		return nil
	}})
	<-begun
	m.Close()
	if row := o.Snapshot(); row.Status != api.OpDone || !slices.Contains(j.lines, "end done") {
		t.Errorf("%+v, %v", row, j.lines)
	}
}

// TestConclude: nothing is done and nothing undone of what stands already.
func TestConclude(t *testing.T) {
	for _, failure := range []error{nil, api.Errorf(api.KindInternal, "it has failed")} {
		j := &journal{}
		plan := Plan{Kind: "test", Steps: []Step{j.step("one", nil)}, Result: func(*Op) *api.Result { return &api.Result{} }}
		o := manager(t, j).Conclude(plan, Unfinished{Operation: api.Operation{ID: "1", Status: api.OpRunning}, Undoing: true, Attempts: 5}, failure)
		if err := o.Wait(t.Context()); (err == nil) != (failure == nil) || len(j.lines) != 1 {
			t.Errorf("%v, %v", err, j.lines)
		}
	}
}

// TestRequested: a client that asks again with its key finds what it has asked for.
func TestRequested(t *testing.T) {
	j := &journal{}
	m := manager(t, j)
	o, err := m.Start(WithRequest(t.Context(), "key"), Plan{Kind: "test", Steps: []Step{j.step("one", nil)}})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := m.Requested("key"); err != nil || found != o {
		t.Errorf("%v, %v", found, err)
	}
	if err := o.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	later := manager(t, j)
	if found, err := later.Requested("key"); err != nil || found == nil || found.ID() != o.ID() || found.Snapshot().Status != api.OpDone {
		t.Errorf("the next daemon: %v, %v", found, err)
	}
	if found, err := later.Requested("another"); err != nil || found != nil {
		t.Errorf("another key: %v, %v", found, err)
	}
}
