package session

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"banger/api"
	"banger/internal/daemonstart"
)

// momentsCommand runs a command several times and kills the daemon at another
// moment of it each time, from its very beginning to its end. After each, a new
// daemon has to have finished or undone all work, every VM has to be in a state of
// rest, and a second try of the command has to go.
//
//	moments N STATES BEFORE COMMAND AFTER
//
// N is the number of moments, STATES the states (with commas) that VMs may be in.
// BEFORE, COMMAND and AFTER are lines for the shell; the daemon is killed during
// COMMAND only.
func momentsCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 5, "moments N STATES BEFORE COMMAND AFTER (shell commands)")
	n, states := 0, strings.Split(args[1], ",")
	_, err := fmt.Sscan(args[0], &n)
	ts.Check(err)
	w := worldOf(ts)
	shell := func(line string) *exec.Cmd { return command(ts, "sh", []string{"-euc", line}) }
	must := func(line string) {
		if out, err := shell(line).CombinedOutput(); err != nil {
			ts.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	// How long it takes undisturbed.
	must(args[2])
	began := time.Now()
	must(args[3])
	took := time.Since(began)
	must(args[4])
	for i := range n {
		must(args[2])
		cmd := shell(args[3])
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		ts.Check(cmd.Start())
		time.Sleep(took * time.Duration(i) / time.Duration(n)) // the moment
		_, err := w.kill9()
		_ = cmd.Wait() // it may fail: what counts is what it leaves
		ts.Check(err)
		if err := atPeace(w, states); err != nil {
			ts.Fatalf("killed %s after the start of %q: %v\nit said: %s", took*time.Duration(i)/time.Duration(n), args[3], err, &out)
		}
		must(args[4])
	}
}

// atPeace waits until no operation is under way, and looks at the VMs' states.
func atPeace(w *fixture, states []string) error {
	return eventually(func() error {
		vms, err := w.list()
		if err != nil {
			return err
		}
		for _, vm := range vms {
			if !slices.Contains(states, string(vm.State)) {
				return fmt.Errorf("VM %s is %s (%s)", vm.Name, vm.State, vm.Reason)
			}
		}
		return w.noOperation()
	})
}

func (w *fixture) noOperation() error {
	ops, err := daemonstart.Running(w.paths).Operations().List(context.Background())
	if err != nil {
		return err
	}
	for _, o := range ops {
		if o.Status == api.OpRunning {
			return fmt.Errorf("operation %s on %s is still at step %s", o.Kind, o.Target, o.Step)
		}
	}
	return nil
}

// list lists the VMs; it starts a daemon where none runs.
func (w *fixture) list() ([]api.VM, error) {
	if out, err := w.run("vm", "list"); err != nil {
		return nil, fmt.Errorf("banger vm list: %w: %s", err, out)
	}
	return daemonstart.Running(w.paths).VMs().List(context.Background())
}
