package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"banger/internal/driver/firecracker"
	"banger/test/lab/host"
)

func pairOf(name string, minor, jailer int) host.Pair {
	return host.Pair{Name: name, Versions: [2]firecracker.Version{{Major: 1, Minor: minor}, {Major: 1, Minor: jailer}}}
}

func names(turns []Turn) string {
	var all []string
	for _, t := range turns {
		all = append(all, t.String())
	}
	return strings.Join(all, "\n")
}

// TestTurns: the first pair plays everything, each further one what depends on it, and a
// pair of unlike releases nothing.
func TestTurns(t *testing.T) {
	s := Suite{Words: []string{"lifecycle"}, Options: host.Options{Pairs: []host.Pair{pairOf("mixed", 17, 16), pairOf("main", 17, 17), pairOf("1.8.0", 8, 8)}}}
	want := `lifecycle with firecracker 1.17.0 (main)
lifecycle-files with firecracker 1.17.0 (main)
lifecycle-grow with firecracker 1.17.0 (main)
lifecycle-kill-delete-prune with firecracker 1.17.0 (main)
lifecycle-parallel with firecracker 1.17.0 (main)
lifecycle-jail with firecracker 1.17.0 (main)
lifecycle with firecracker 1.8.0
lifecycle-jail with firecracker 1.8.0`
	if got := names(s.turns()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	s.Options = host.Options{NoFirecracker: true}
	if got := s.turns(); len(got) != 6 || !got[5].skipped() || got[0].skipped() {
		t.Errorf("without Firecracker: %s", names(got))
	}
	// What PATH has was not chosen for this: it plays, and is called what it is.
	s.Options = host.Options{Pairs: []host.Pair{pairOf("PATH", 17, 16)}}
	if got := s.turns(); len(got) != 6 || got[0].String() != "lifecycle with firecracker 1.17.0 with jailer 1.16.0" {
		t.Errorf("of PATH: %s", names(got))
	}
}

// TestFurtherPairsAreAffordable: a further pair plays a quarter of the scenarios at most,
// and everything that is about Firecracker.
func TestFurtherPairsAreAffordable(t *testing.T) {
	again := 0
	for _, s := range Scenarios {
		if s.again() {
			again++
		}
		if s.Updates && s.again() {
			t.Errorf("%s takes minutes, and is played with each pair", s.Name)
		}
		if s.Firecracker && !s.again() {
			t.Errorf("%s is about Firecracker, and is played with one pair alone", s.Name)
		}
	}
	if again < 8 || again > len(Scenarios)/4 {
		t.Errorf("%d of %d scenarios are played again", again, len(Scenarios))
	}
}

// TestTally: the closing lines name what failed, and each pair with what it passed.
func TestTally(t *testing.T) {
	pairs := []host.Pair{pairOf("main", 17, 17), pairOf("mixed", 16, 1), pairOf("1.8.0", 8, 8)}
	s := Suite{Words: []string{"lifecycle"}, Options: host.Options{Pairs: pairs}}
	var out strings.Builder
	y := newTally(&out, s.turns())
	y.unlike(pairs)
	for i, turn := range y.turns {
		if turn.Further {
			if i == 6 {
				y.stop(turn, errors.New("no guest starts with firecracker 1.8.0: it failed the same way each time\nand more"))
			}
			continue
		}
		y.begin(i)
		if i == 1 {
			y.fail(turn, time.Second, "failed the same way each time", errors.New("a reason"), "x.log")
			continue
		}
		y.pass(turn, time.Second)
	}
	y.close()
	if y.failures() != 3 {
		t.Errorf("%d failures", y.failures())
	}
	for _, want := range []string{
		"FAIL firecracker 1.16.0 with jailer 1.1.0 are of different releases (mixed): not run\n",
		"     2 of 8: lifecycle-files with firecracker 1.17.0 (main); 6 left\n",
		"FAIL lifecycle-files with firecracker 1.17.0 (main) 1.0 s: failed the same way each time\n     a reason\n     the complete output is in x.log\n     3 of 8",
		"\nfailed: firecracker 1.16.0 with jailer 1.1.0 are of different releases (mixed): not run\n" +
			"failed: lifecycle-files with firecracker 1.17.0 (main): failed the same way each time\n" +
			"failed: no guest starts with firecracker 1.8.0: it failed the same way each time\n" +
			"firecracker 1.17.0 (main): 5 of 6 scenarios passed\n" +
			"firecracker 1.8.0: 0 of 2 scenarios passed\n" +
			"5 passed, 3 failed, 0 skipped, 2 not run\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, out.String())
		}
	}
}

// TestLabsShareTurns: each turn is handed out once, and none after the run is given up.
func TestLabsShareTurns(t *testing.T) {
	var out strings.Builder
	turns := Suite{Options: host.Options{Pairs: []host.Pair{pairOf("main", 17, 17)}}}.turns()
	y := newTally(&out, turns)
	var labs sync.WaitGroup
	begun := make([]atomic.Int32, len(turns))
	for range 4 {
		labs.Go(func() {
			for i, more := y.next(); more; i, more = y.next() {
				begun[i].Add(1)
				y.pass(turns[i], time.Second)
			}
		})
	}
	labs.Wait()
	for i := range begun {
		if n := begun[i].Load(); n != 1 {
			t.Errorf("turn %d was handed out %d times", i, n)
		}
	}

	y = newTally(&out, turns[:3])
	y.next()
	y.pass(turns[0], time.Second)
	y.giveUp()
	if i, more := y.next(); more {
		t.Errorf("turn %d was handed out after the run was given up", i)
	}
	y.close()
	if want := "1 passed, 0 failed, 0 skipped, 2 not run\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("it does not end with %q:\n%s", want, out.String())
	}
}

// TestContinue: what was passed is left out for as long as all programs are the same, and a run that does not
// continue forgets it.
func TestContinue(t *testing.T) {
	dir := t.TempDir()
	pair := &host.Pair{Name: "main", Firecracker: filepath.Join(dir, "firecracker"), Jailer: filepath.Join(dir, "jailer")}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open := func(forget bool) *earlier {
		t.Helper()
		e, err := openEarlier(filepath.Join(dir, "passed"), filepath.Join(dir, "build"), forget)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if err := os.Mkdir(filepath.Join(dir, "build"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"firecracker", "jailer", "build/bangerd"} {
		write(name, "1")
	}
	with, without := Turn{Scenario: Scenarios[0], Pair: pair}, Turn{Scenario: Scenarios[0]}
	if e := open(false); e.has(with) || e.add(with) != nil {
		t.Error("nothing was passed, or that cannot be recorded")
	}
	if e := open(false); !e.has(with) || e.has(without) {
		t.Error("not what was passed counts as passed")
	}
	for _, name := range []string{"jailer", "build/bangerd"} {
		write(name, "2")
		if open(false).has(with) {
			t.Errorf("it counts for another %s", name)
		}
		write(name, "1")
	}
	if open(true).has(with) || open(false).has(with) {
		t.Error("it was not forgotten")
	}
}

// TestTime: after its time a run begins nothing more, and says so.
func TestTime(t *testing.T) {
	turn := Turn{}
	for name, x := range map[string]struct {
		time time.Time
		want string
	}{
		"no limit": {time.Time{}, ""},
		"before":   {time.Now().Add(time.Hour), ""},
		"after":    {time.Now().Add(-time.Second), "NOT RUN: the time for this run of the lab is over"},
	} {
		if got := (Suite{Time: x.time}).skips(turn); got != x.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	var f failures
	f.add(errors.New("the VM has stopped"), true)
	if !f.excused() {
		t.Error("the emulated processor was at fault, and the scenario is not excused")
	}
	f.add(errors.New("it hangs"), false)
	if f.excused() {
		t.Error("a failure that nobody explains is excused")
	}
}

// TestList: every scenario, a line each, and how many a further pair costs.
func TestList(t *testing.T) {
	var out strings.Builder
	if err := (Suite{}).List(&out); err != nil {
		t.Fatal(err)
	}
	for _, s := range Scenarios {
		if !strings.Contains("\n"+out.String(), "\n"+s.Name) {
			t.Errorf("it lacks %s", s.Name)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != len(Scenarios)+1 {
		t.Errorf("%d lines", n)
	}
	if !strings.Contains(out.String(), "\nmissing-firecracker ") || !strings.Contains(out.String(), "only Firecracker; again with each further pair\n") {
		t.Error(out.String())
	}
}

// fails is a failure as a scenario makes it.
func fails(format string, args ...any) error {
	err := attempt(func() { (&checks{}).Failf(format, args...) })
	return &scenarioError{err, fmt.Sprintf("the journal of %s", time.Now())}
}

// TestSameFailure: what fails twice in the same way has failed, whatever the emulated
// processor did beside it; numbers and ids are not what it is known by.
func TestSameFailure(t *testing.T) {
	one := fails("status 1: banger vm start web\nVM 0123456789ab (pid 431): no such device after 3.1 s")
	same := fails("status 1: banger vm start web\nVM ba9876543210 (pid 98): no such device after 12.7 s")
	other := fails("the state of web is failed, not running")
	third := fails("after 8m0s still not: the daemons answer")
	spoiled := &scenarioError{endedBy(errSpoiled, fails("cannot run in the lab: sleep 1")), ""}
	lost := &lostError{"it hangs, and ran no program within 60 s"}
	hung, elsewhere := endedBy(lost, fails("cannot run in the lab: true\ngiven up")), endedBy(lost, fails("cannot run in the lab: false\ngiven up"))
	type try struct {
		err   error
		fault bool
	}
	for name, c := range map[string]struct {
		tries   []try
		enough  bool
		verdict string
	}{
		"once":                          {[]try{{one, false}}, false, ""},
		"once, a fault beside it":       {[]try{{one, true}}, false, ""},
		"twice the same":                {[]try{{one, false}, {same, false}}, true, "failed the same way each time"},
		"twice the same, faults beside": {[]try{{one, true}, {same, true}}, true, "failed the same way each time; the emulated processor was at fault beside it in 2 of 2 tries"},
		"the same, another between":     {[]try{{one, true}, {other, true}, {same, true}}, true, "failed the same way 2 of 3 times; the emulated processor was at fault beside it in 3 of 3 tries"},
		"two ways":                      {[]try{{one, false}, {other, false}}, true, "failed 2 times, each in a different way"},
		"two ways, faults beside":       {[]try{{one, true}, {other, true}}, false, ""},
		"three ways, one fault":         {[]try{{one, true}, {other, false}, {third, false}}, true, "failed 3 times, each in a different way; the emulated processor was at fault beside it in 1 of 3 tries"},
		"hung twice at the same":        {[]try{{hung, true}, {hung, true}}, true, "failed the same way each time; the emulated processor was at fault beside it in 2 of 2 tries"},
		"hung here and there":           {[]try{{hung, true}, {elsewhere, true}}, false, ""},
		"ended for a spoiled guest":     {[]try{{spoiled, true}, {spoiled, true}}, false, ""},
	} {
		var f failures
		for _, try := range c.tries {
			f.add(try.err, try.fault)
		}
		if f.enough() != c.enough || c.enough && f.verdict() != c.verdict {
			t.Errorf("%s: enough %t, %s", name, f.enough(), f.verdict())
		}
	}
}

// TestTwice: a smoke start that fails the same way twice is given up, one that fails in
// other ways at the third time, and one that works is not tried again.
func TestTwice(t *testing.T) {
	a, b, c := errors.New("cannot make a node"), errors.New("it hangs"), errors.New("no room")
	for name, x := range map[string]struct {
		fail []error
		did  int
		want string
	}{
		"works":          {nil, 1, ""},
		"works then":     {[]error{a}, 2, ""},
		"the same twice": {[]error{a, a, a}, 2, "no: it failed the same way each time: cannot make a node"},
		"works at last":  {[]error{a, b}, 3, ""},
		"never works":    {[]error{a, b, c, nil}, 3, "no: it failed 3 times, each in a different way: no room"},
	} {
		did := 0
		err := twice(t.Context(), func() error {
			did++
			if did <= len(x.fail) {
				return x.fail[did-1]
			}
			return nil
		}, func(err error) error { return fmt.Errorf("no: %w", err) })
		if did != x.did || (err == nil) != (x.want == "") || err != nil && err.Error() != x.want {
			t.Errorf("%s: did it %d times, %v", name, did, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := twice(ctx, func() error { return a }, func(error) error { return a }); err != nil {
		t.Errorf("stopped by the user: %v", err)
	}
}

// TestSaid: a failure shows what the journal has since its scenario began, and no more.
func TestSaid(t *testing.T) {
	m := &messages{cursor: "s=1;i=2"}
	if got := m.said("-u bangerd"); got != "journalctl -q --no-pager -o short-precise --after-cursor='s=1;i=2' -u bangerd" {
		t.Error(got)
	}
	if got := (&messages{}).said(""); !strings.Contains(got, " -b ") {
		t.Error(got)
	}
}

// TestComplaint: of all that a start says, what went wrong is told.
func TestComplaint(t *testing.T) {
	const out = "banger: starting the virtual machine\nbanger: cannot start VM 5d: the VMM said: no device\n  try: banger doctor\n"
	if got := complaint(out); got != "cannot start VM 5d: the VMM said: no device" {
		t.Error(got)
	}
	if got := complaint("sh: not found\n"); got != "banger printed no message" {
		t.Error(got)
	}
}
