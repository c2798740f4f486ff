package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"banger/test/lab/host"

	"golang.org/x/sync/errgroup"
)

// Suite is a run of scenarios.
type Suite struct {
	// Words select the scenarios whose names start with one of them; none means all.
	Words []string
	// Dir is the directory of the running lab; Results keeps the output of failed
	// scenarios.
	Dir, Results string
	Options      host.Options
	// Passed is the file that lists the turns that were passed; Continue leaves those out that it has.
	Passed   string
	Continue bool
	// Labs is how many labs share the turns, side by side; 0 means one.
	Labs int
	Out  io.Writer
	// Time is when scenarios are no longer begun, and those that the emulated processor has broken no longer
	// tried again: they count as skipped. Zero means that there is always time.
	Time time.Time
}

// scenarioTime bounds a scenario.
const scenarioTime = 30 * time.Minute

// Run boots a lab, runs the turns in it, and returns how many failed.
func (s Suite) Run(ctx context.Context) (failed int, err error) {
	if len(s.chosen()) == 0 {
		return 0, fmt.Errorf("no scenario's name starts with %s", strings.Join(s.Words, " or "))
	}
	if err := errors.Join(os.RemoveAll(s.Results), os.MkdirAll(s.Results, 0o755)); err != nil {
		return 0, err
	}
	t := newTally(s.Out, s.turns())
	defer func() {
		t.close()
		failed = t.failures()
	}()
	t.unlike(s.Options.Pairs)
	if len(t.turns) == 0 {
		return 0, nil
	}
	earlier, err := openEarlier(s.Passed, s.Options.Build, !s.Continue)
	if err != nil {
		return 0, err
	}
	image, err := host.Build(ctx, s.Out)
	if err != nil {
		return 0, err
	}
	return 0, s.runIn(ctx, image, earlier, t)
}

// runIn runs the turns in as many labs as the suite has.
func (s Suite) runIn(ctx context.Context, image host.Image, earlier *earlier, t *tally) error {
	labs, ctx := errgroup.WithContext(ctx)
	for n := range max(1, min(s.Labs, len(t.turns))) {
		r := &run{Suite: s, image: image, earlier: earlier}
		if n > 0 {
			r.name = "-" + strconv.Itoa(n+1)
			r.Dir += r.name
		}
		labs.Go(func() error { return errors.Join(r.work(ctx, t), r.end()) })
	}
	return labs.Wait()
}

// work runs turns, one after the other, until none is left or no lab can be booted.
func (r *run) work(ctx context.Context, t *tally) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		i, more := t.next()
		if !more {
			return nil
		}
		if err := r.turn(ctx, i, t); err != nil {
			return err
		}
	}
}

// turn runs the turn i of t, unless it is skipped.
func (r *run) turn(ctx context.Context, i int, t *tally) error {
	turn := t.turns[i]
	if !turn.skipped() && r.earlier.has(turn) {
		t.passedEarlier(turn)
		return nil
	}
	if reason := r.skips(turn); reason != "" {
		t.skip(turn, reason)
		return nil
	}
	if t.stopped(turn) {
		return nil
	}
	if err := r.use(ctx, turn, t.left(i)); err != nil {
		t.stop(turn, err)
		if isNoLab(err) {
			t.giveUp()
		}
		return nil
	}
	if ctx.Err() != nil { // while its pair was tried
		return context.Cause(ctx)
	}
	t.begin(i)
	if err := r.play(ctx, turn, t); err != nil {
		return err
	}
	if r.noLab {
		t.giveUp()
	}
	return nil
}

// skips returns why a turn is not run now, or "".
func (s Suite) skips(turn Turn) string {
	switch {
	case turn.skipped():
		return "this lab has no firecracker and jailer"
	case s.late():
		return "NOT RUN: the time for this run of the lab is over"
	}
	return ""
}

func (s Suite) late() bool { return !s.Time.IsZero() && time.Now().After(s.Time) }

func (s Suite) chosen() []Scenario {
	var chosen []Scenario
	for _, scenario := range Scenarios {
		begins := func(word string) bool { return strings.HasPrefix(scenario.Name, word) }
		if len(s.Words) == 0 || slices.ContainsFunc(s.Words, begins) {
			chosen = append(chosen, scenario)
		}
	}
	return chosen
}

// NeedsVersions reports whether a selected scenario needs the versions for updates.
func (s Suite) NeedsVersions() bool {
	return slices.ContainsFunc(s.chosen(), func(s Scenario) bool { return s.Updates })
}

// run is the part of a running suite that one lab has. The lab is kept between scenarios, and made again if a failed
// one has left it unusable.
type run struct {
	Suite
	image   host.Image
	earlier *earlier
	name    string // "" for the first of several labs, or a suffix for the names of files
	lab     *Lab
	suspect bool            // the previous scenario failed
	fault   bool            // in it, the emulated processor ended or broke a guest
	kept    bool            // the previous scenario has left VMs for one that keeps them
	passed  map[string]bool // the points of this scenario passed by an earlier try
	pair    *host.Pair      // the current pair of the scenarios
	begun   bool            // pair is set
	noLab   bool            // no lab can be booted
}

// play runs a turn, and repeats it if it fails, until it has failed too often. An error
// ends the run.
func (r *run) play(ctx context.Context, turn Turn, t *tally) error {
	begin := time.Now()
	r.passed = map[string]bool{}
	var f failures
	for {
		err := r.one(ctx, turn)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		took := time.Since(begin)
		if err == nil {
			t.pass(turn, took)
			return r.earlier.add(turn)
		}
		log := r.log(turn)
		if f.add(err, r.fault); f.enough() {
			t.fail(turn, took, f.verdict(), err, log)
			r.noLab = isNoLab(err)
			return nil
		}
		kept := fmt.Sprintf("%s.%d", log, f.tries)
		if err := os.Rename(log, kept); err != nil {
			return err
		}
		t.once(turn, took, err, kept)
		if r.late() && f.excused() {
			t.skip(turn, fmt.Sprintf("NOT PROVEN: the emulated processor was at fault in each of %d tries, and the time for this run of the lab is over", f.tries))
			return nil
		}
		begin = time.Now()
	}
}

// log opens the file for the output of a turn.
func (r *run) log(turn Turn) string {
	name := turn.Scenario.Name
	if turn.Further {
		name += "-" + turn.Pair.Name
	}
	return filepath.Join(r.Results, name+".log")
}

// one runs a scenario in a lab that is ready for it.
func (r *run) one(ctx context.Context, turn Turn) (err error) {
	r.fault = false
	s := turn.Scenario
	log, err := os.Create(r.log(turn))
	if err != nil {
		return err
	}
	defer log.Close()
	whole := ctx
	ctx, end := context.WithTimeoutCause(whole, scenarioTime, errors.New("it took more than "+scenarioTime.String()))
	defer end()
	if err := r.ready(ctx, log, s.Updates); err != nil {
		return err
	}
	r.lab.passed, r.lab.messages.cursor = r.passed, ""
	r.lab.health.begin()
	err = r.lab.guarded(ctx, log, func() { r.lab.Ready(s.Keeps && r.kept, s.Updates); s.Run(r.lab) })
	if whole.Err() != nil {
		return err
	}
	r.suspect, r.kept = err != nil, s.Keeps && err == nil
	if err != nil {
		// No scenario makes a guest's kernel panic, and banger cannot.
		r.fault = r.lab.health.spoiled() != nil || strings.Contains(err.Error(), "the guest's kernel panicked")
		err = &scenarioError{err, r.lab.messages.circumstances(log)}
	}
	return err
}

// ready makes sure that there is a usable lab.
func (r *run) ready(ctx context.Context, log io.Writer, anyVersion bool) error {
	if r.lab != nil && r.suspect {
		err := r.lab.health.alive()
		if err == nil {
			// Its Firecracker may have been installed by the previous scenario.
			err = r.lab.guarded(ctx, log, func() { r.lab.takePair(r.pair); r.lab.Ready(false, anyVersion) })
		}
		if err != nil {
			fmt.Fprintf(log, "a new lab is needed: %v\n", err)
			if err := r.end(); err != nil {
				return err
			}
		}
	}
	if r.lab != nil {
		return nil
	}
	lab, err := r.boot(ctx, log)
	if err != nil {
		return &noLabError{err}
	}
	r.lab, r.kept, r.suspect = lab, false, false
	return nil
}

// attempt runs a part of a scenario and returns why it ended.
func attempt(part func()) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = errors.New(strings.TrimRight(p.text, "\n"))
		default:
			panic(p)
		}
	}()
	part()
	return nil
}

// boot makes a lab with banger installed in it.
func (r *run) boot(ctx context.Context, log io.Writer) (*Lab, error) {
	begin := time.Now()
	m, err := host.Up(ctx, r.Dir, r.image, r.Options)
	if err != nil {
		return nil, err
	}
	conn, err := m.Connect(ctx)
	if err != nil {
		return nil, errors.Join(err, m.Remove())
	}
	driver := "firecracker"
	if r.pair == nil {
		driver = "qemu"
	}
	l := newLab(&checks{ctx: ctx, out: r.Out, script: log}, m, conn, driver)
	fmt.Fprintf(r.Out, "lab%s: booted in %.1f s\n", r.name, time.Since(begin).Seconds())
	begin = time.Now()
	err = l.guarded(ctx, log, func() {
		l.takePair(r.pair)
		l.Run(traceEnds)
		l.first = l.Run(hostState)
		l.Install()
	})
	if err != nil {
		err = fmt.Errorf("cannot install the build in the lab: %w\n%s", err, l.messages.circumstances(log))
		conn.Close()
		return nil, errors.Join(err, m.Remove())
	}
	fmt.Fprintf(r.Out, "lab%s: installed in %.1f s\n", r.name, time.Since(begin).Seconds())
	return l, nil
}

// end ends the lab.
func (r *run) end() error {
	if r.lab == nil {
		return nil
	}
	l := r.lab
	r.lab = nil
	l.conn.Close()
	return l.machine.Remove()
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("     " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}
