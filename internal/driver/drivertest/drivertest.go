// Package drivertest is the suite that every VMM driver passes.
package drivertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"banger/internal/driver"
	"banger/internal/guest/agentproto"
	"banger/internal/host/console"
	"banger/internal/paths"
)

// Harness creates what the suite tests.
type Harness struct {
	New func(t *testing.T) driver.Driver
	// Spec returns a machine that boots, with its own directory.
	Spec func(t *testing.T, id string) driver.Spec
	// Refused are modifications with which a machine cannot start.
	Refused map[string]func(t *testing.T, s *driver.Spec) driver.Driver
	// BootTime is how long a guest may take to answer.
	BootTime time.Duration
	// System reports that another process of the host starts the VMM, and finds it by its
	// id alone.
	System bool
	// Moments are the times at which a start is cancelled; if nil, those for a start that
	// takes milliseconds.
	Moments []time.Duration
}

const (
	idA = "00000000000a"
	idB = "00000000000b"
)

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	tests := []struct {
		name string
		run  func(t *testing.T, h Harness)
	}{
		{"StartAnswersAndIsKilled", testStart},
		{"RecoverByHandle", testRecover},
		{"RecoverIgnoresLies", testLies},
		{"MachineOutlivesItsStarter", testOutlives},
		{"FailedStartLeavesNothing", testRefused},
		{"CancelledStartLeavesNothing", testCancelled},
		{"TwoMachinesAreStrangers", testStrangers},
		{"PauseAndResume", testPause},
		{"SaveAndRestore", testSaved},
		{"FailedSaveLeavesItRunning", testFailedSave},
		{"WhatDoesNotFitIsNotRestored", testMisfits},
		{"NothingLeaks", testLeaks},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, h) })
	}
}

// start starts a machine that is killed when the test ends.
func start(t *testing.T, d driver.Driver, s driver.Spec) driver.Machine {
	t.Helper()
	m, err := d.Start(t.Context(), s)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() { end(t, m) })
	return m
}

func end(t *testing.T, m driver.Machine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := m.Kill(ctx); err != nil {
		t.Errorf("Kill: %v", err)
	}
	m.Release()
}

// answers proves that the guest's agent answers on the channel.
func answers(t *testing.T, h Harness, m driver.Machine) agentproto.Ack {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), h.BootTime)
	defer cancel()
	conn, err := dial(ctx, h, m)
	if err != nil {
		t.Fatalf("DialGuest: %v", err)
	}
	defer conn.Close()
	_, ack, err := agentproto.Greet(ctx, conn, agentproto.NewHello("test", time.Now()))
	if err != nil {
		for _, dir := range openDirs(m.PID()) {
			text, _ := console.Tail(filepath.Join(dir, paths.VMConsole), 20)
			t.Logf("console in %s:\n%s", dir, console.Sanitize(string(text)))
		}
		t.Fatalf("the guest does not answer: %v", err)
	}
	return ack
}

// redialPause is the pause between two tries to reach an agent that does not run yet.
const redialPause = 100 * time.Millisecond

// dial dials the agent. In system mode the agent of a recovered machine may refuse the
// connection until it runs.
func dial(ctx context.Context, h Harness, m driver.Machine) (net.Conn, error) {
	for {
		conn, err := m.DialGuest(ctx)
		if err == nil || !h.System {
			return conn, err
		}
		select {
		case <-time.After(redialPause):
		case <-m.Done():
			return nil, err
		case <-ctx.Done():
			return nil, err
		}
	}
}

// openDirs returns the directories of the files that a process has open.
func openDirs(pid int) []string {
	var dirs []string
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		if file, err := os.Readlink(link); err == nil && filepath.Base(file) == paths.VMConsole {
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	return dirs
}

func testStart(t *testing.T, h Harness) {
	d, s := h.New(t), h.Spec(t, idA)
	if _, err := d.Recover(t.Context(), s.ID, s.Dir, nil); !errors.Is(err, driver.ErrGone) {
		t.Errorf("Recover before Start: %v", err)
	}
	m := start(t, d, s)
	first := answers(t, h, m)
	if second := answers(t, h, m); second.BootID != first.BootID {
		t.Errorf("boot id %q, then %q: not the same guest", first.BootID, second.BootID)
	}
	select {
	case <-m.Done():
		t.Errorf("Done is closed while the machine runs")
	default:
	}
	if console, err := os.ReadFile(filepath.Join(s.Dir, paths.VMConsole)); err != nil || len(console) == 0 {
		t.Errorf("console log: %d bytes, %v", len(console), err)
	}
	for range 2 { // idempotent
		if err := m.Kill(t.Context()); err != nil {
			t.Errorf("Kill: %v", err)
		}
	}
	select {
	case <-m.Done():
	default:
		t.Errorf("Done is not closed after Kill")
	}
	if code := m.Exit().Code; code != 128+9 && !(h.System && code == -1) {
		t.Errorf("exit code %d of a killed process", code)
	}
	if conn, err := m.DialGuest(t.Context()); err == nil {
		conn.Close()
		t.Errorf("the channel of a dead machine was dialled")
	}
	if _, err := d.Recover(t.Context(), s.ID, s.Dir, m.Handle()); !errors.Is(err, driver.ErrGone) {
		t.Errorf("Recover of a dead machine: %v", err)
	}
}

func testRecover(t *testing.T, h Harness) {
	d, s := h.New(t), h.Spec(t, idA)
	m := start(t, d, s)
	before := answers(t, h, m)
	for name, handle := range map[string]json.RawMessage{"with its handle": m.Handle(), "without": nil} {
		found, err := h.New(t).Recover(t.Context(), s.ID, s.Dir, handle)
		if err != nil {
			t.Fatalf("Recover %s: %v", name, err)
		}
		if found.PID() != m.PID() || found.Accel() != m.Accel() || string(found.Handle()) != string(m.Handle()) {
			t.Errorf("Recover %s: pid %d, accel %s, handle %s", name, found.PID(), found.Accel(), found.Handle())
		}
		if after := answers(t, h, found); after.BootID != before.BootID {
			t.Errorf("Recover %s: another guest answers", name)
		}
		found.Release()
		found.Release() // idempotent
	}
	select {
	case <-m.Done():
		t.Errorf("Release ended the machine")
	default:
	}
}

func testLies(t *testing.T, h Harness) {
	d, s := h.New(t), h.Spec(t, idA)
	m := start(t, d, s)
	other := start(t, d, h.Spec(t, idB))
	lies := map[string]string{
		"another VM's":      string(other.Handle()),
		"our own process's": strings.Replace(string(m.Handle()), fmt.Sprintf(`"pid":%d`, m.PID()), fmt.Sprintf(`"pid":%d`, os.Getpid()), 1),
		"another boot's":    strings.Replace(string(m.Handle()), `"boot_id":"`, `"boot_id":"0`, 1),
		"another time's":    strings.Replace(string(m.Handle()), `"start_time":`, `"start_time":1`, 1),
		"init's":            `{"version":1,"pid":1,"start_time":1,"boot_id":""}`,
		"negative":          `{"version":1,"pid":-1}`,
		"another version's": `{"version":99}`,
		"no JSON":           "\x00\xff{",
		"of another type":   `[1,2,3]`,
		"empty":             `{}`,
	}
	for name, lie := range lies {
		found, err := d.Recover(t.Context(), s.ID, s.Dir, json.RawMessage(lie))
		if err != nil {
			t.Errorf("handle %s: %v", name, err)
			continue
		}
		if found.PID() != m.PID() {
			t.Errorf("handle %s: pid %d instead of %d", name, found.PID(), m.PID())
		}
		found.Release()
	}
	if _, err := d.Recover(t.Context(), "00000000000c", s.Dir, m.Handle()); !errors.Is(err, driver.ErrGone) {
		t.Errorf("a handle was obeyed for another id: %v", err)
	}
	if h.System {
		return
	}
	if _, err := d.Recover(t.Context(), s.ID, s.Dir+"x", m.Handle()); !errors.Is(err, driver.ErrGone) {
		t.Errorf("a handle was obeyed for another directory: %v", err)
	}
}

func testRefused(t *testing.T, h Harness) {
	for name, spoil := range h.Refused {
		t.Run(name, func(t *testing.T) {
			s := h.Spec(t, idA)
			d := spoil(t, &s)
			m, err := d.Start(t.Context(), s)
			switch {
			case err == nil && h.System && endsUnasked(m):
				t.Logf("it ended at once: %s", m.Exit().Message)
				end(t, m)
			case err == nil:
				end(t, m)
				t.Fatalf("it started")
			default:
				t.Logf("refused: %v", err)
			}
			nothingLeft(t, h.New(t), s)
		})
	}
}

// endsUnasked reports whether a machine ends without a request: a VMM may find a fault of its
// guest only after it runs.
func endsUnasked(m driver.Machine) bool {
	select {
	case <-m.Done():
		return true
	case <-time.After(time.Minute):
		return false
	}
}

func testCancelled(t *testing.T, h Harness) {
	d := h.New(t)
	// From "before it began" to "nearly there".
	moments := h.Moments
	if moments == nil {
		moments = []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 15 * time.Millisecond}
	}
	for _, after := range moments {
		s := h.Spec(t, idA)
		ctx, cancel := context.WithTimeout(t.Context(), after)
		m, err := d.Start(ctx, s)
		cancel()
		if err == nil {
			end(t, m) // it was faster
			continue
		}
		nothingLeft(t, d, s)
	}
}

// nothingLeft looks for a process and sockets of the machine.
func nothingLeft(t *testing.T, d driver.Driver, s driver.Spec) {
	t.Helper()
	if m, err := d.Recover(t.Context(), s.ID, s.Dir, nil); !errors.Is(err, driver.ErrGone) {
		if err == nil {
			end(t, m)
		}
		t.Errorf("a process is left: %v", err)
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Type()&os.ModeSocket != 0 {
			t.Errorf("the socket %s is left", e.Name())
		}
	}
}

func testStrangers(t *testing.T, h Harness) {
	d := h.New(t)
	a, b := h.Spec(t, idA), h.Spec(t, idB)
	ma, mb := start(t, d, a), start(t, d, b)
	if ma.PID() == mb.PID() {
		t.Fatalf("both have pid %d", ma.PID())
	}
	ackA, ackB := answers(t, h, ma), answers(t, h, mb)
	if ackA.BootID == ackB.BootID {
		t.Errorf("the same guest answers for both")
	}
	if err := ma.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := answers(t, h, mb); after.BootID != ackB.BootID {
		t.Errorf("killing one changed the other")
	}
}

func testPause(t *testing.T, h Harness) {
	d, s := h.New(t), h.Spec(t, idA)
	m := start(t, d, s)
	p, ok := m.(driver.Pauser)
	if !ok {
		t.Logf("driver %s does not pause machines: nothing to test", d.Name())
		return
	}
	answers(t, h, m)
	if err := p.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if greet(t, m, 200*time.Millisecond) == nil {
		t.Errorf("a paused guest answers")
	}
	if err := p.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	answers(t, h, m)
}

// greet is answers with a time limit.
func greet(t *testing.T, m driver.Machine, limit time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	conn, err := m.DialGuest(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, _, err = agentproto.Greet(ctx, conn, agentproto.NewHello("test", time.Now()))
	return err
}

func testLeaks(t *testing.T, h Harness) {
	d := h.New(t)
	once := func() {
		s := h.Spec(t, idA)
		m, err := d.Start(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		answers(t, h, m)
		if m, ok := m.(driver.Saver); ok {
			saveAndRestore(t, h, d, s, m)
		}
		end(t, m)
	}
	once() // what is created once and cached is not a leak
	before := descriptors(t)
	for range 3 {
		once()
	}
	more := descriptors(t)
	for _, one := range before { // some of which may be closed since
		if i := slices.Index(more, one); i >= 0 {
			more = slices.Delete(more, i, i+1)
		}
	}
	if len(more) > 0 {
		t.Errorf("descriptors before: %v, and since: %v", before, more)
	}
}

// descriptors lists this process's open descriptors, without numbers and inodes.
func descriptors(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil {
			kind, _, _ := strings.Cut(target, ":[")
			all = append(all, kind)
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(all, func(s string) bool { return strings.HasSuffix(s, "/fd") })
}
