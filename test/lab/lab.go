// Package lab contains the scenarios of the lab host: what system mode has to do on a
// machine with systemd, device-mapper and KVM. tools/lab runs them.
package lab

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"banger/api"
	"banger/test/lab/host"
)

// owner is the user who owns the VMs.
const owner = "dev"

// patience is how long a scenario waits for an event, and how long one command may
// take: under emulation, on a busy machine, everything is slow.
const patience = 8 * time.Minute

// Lab is the lab host as used by a scenario. A method that detects a failure ends the
// scenario.
type Lab struct {
	ctx     context.Context
	machine *host.Machine
	conn    *host.Conn
	out     io.Writer       // what the run prints
	script  io.Writer       // all commands, with their output
	driver  string          // the driver of the VMs
	first   string          // the host's state before the first installation
	booting sync.Mutex      // held while the lab is not running (watch)
	faults  int             // guestFaults at the start of the scenario or the lab's last boot
	passed  map[string]bool // the points that this scenario has passed (Points)
	cursor  string          // the place in the journal at which this scenario began
	lost    error           // why the lab cannot be used any more (watch)

	ping func(context.Context) error // runs a program in the lab
}

// failure ends a scenario.
type failure struct{ text string }

// Points runs a part of a scenario for each of several independent points: if a
// scenario is tried again, it continues at the point at which it failed.
func (l *Lab) Points(points []string, part func(point string)) {
	for _, point := range points {
		if !l.passed[point] {
			part(point)
			l.passed[point] = true
		}
	}
}

// Failf ends the scenario with a failure.
func (l *Lab) Failf(format string, args ...any) {
	panic(failure{fmt.Sprintf(format, args...)})
}

// Note reports something about the run that is not a failure.
func (l *Lab) Note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintf(l.out, "note %s\n", text)
	fmt.Fprintf(l.script, "note: %s\n", text)
}

// Result is the result of a command.
type Result struct {
	Command string
	Status  int
	Output  string // standard output and standard error, as they came
	Stdout  string // only standard output
}

// Firecracker reports whether VMs run on Firecracker rather than on QEMU.
func (l *Lab) Firecracker() bool { return l.driver == "firecracker" }

// Try runs a shell command as root, whatever its status.
func (l *Lab) Try(command string, args ...any) Result { return l.run("root", expand(command, args)) }

// Run runs a shell command as root, which has to succeed, and returns its standard
// output without the white space at its ends.
func (l *Lab) Run(command string, args ...any) string {
	return l.must(l.run("root", expand(command, args)))
}

// TryDev runs a shell command as the owner, whatever its status.
func (l *Lab) TryDev(command string, args ...any) Result { return l.run(owner, expand(command, args)) }

// Dev runs a shell command as the owner, which has to succeed.
func (l *Lab) Dev(command string, args ...any) string {
	return l.must(l.run(owner, expand(command, args)))
}

// Fails runs a shell command as the owner, which has to fail and to print want.
func (l *Lab) Fails(command, want string) { l.failed(l.run(owner, command), want) }

// RootFails runs a shell command as root, which has to fail and to print want.
func (l *Lab) RootFails(command, want string) { l.failed(l.run("root", command), want) }

func (l *Lab) failed(r Result, want string) {
	if r.Status == 0 {
		l.Failf("succeeded, but should not: %s\n%s", r.Command, r.Output)
	}
	if !strings.Contains(r.Output, want) {
		l.Failf("failed without %q: %s\n%s", want, r.Command, r.Output)
	}
}

func (l *Lab) must(r Result) string {
	if r.Status != 0 {
		l.Failf("status %d: %s\n%s", r.Status, r.Command, r.Output)
	}
	return strings.TrimSpace(r.Stdout)
}

// expand fills in the arguments if there are any: commands contain many percent signs.
func expand(command string, args []any) string {
	if len(args) == 0 {
		return command
	}
	return fmt.Sprintf(command, args...)
}

func (l *Lab) run(user, command string) Result {
	ctx, cancel := context.WithTimeoutCause(l.ctx, patience, fmt.Errorf("it took more than %s", patience))
	defer cancel()
	argv := []string{"bash", "-c", command}
	dir := "/root"
	if user != "root" {
		argv, dir = append([]string{"runuser", "-u", user, "--"}, argv...), "/home/"+user
	}
	var out output
	var stdout strings.Builder
	begin := time.Now()
	status, err := l.conn.Exec(ctx, api.Exec{Argv: argv, Dir: dir, Env: []string{"HOME=" + dir}}, host.Streams{Out: io.MultiWriter(&stdout, &out), Err: &out})
	fmt.Fprintf(l.script, "%s %s$ %s\n%s[status %d, %.1f s]\n", begin.Format("15:04:05"), user, command, ended(out.String()), status, time.Since(begin).Seconds())
	if err != nil {
		l.Failf("cannot run in the lab: %s\n%v\n%s", command, err, out.String())
	}
	return Result{Command: command, Status: status, Output: out.String(), Stdout: stdout.String()}
}

// output collects both streams of a command.
type output struct {
	mu   sync.Mutex
	text []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

func ended(text string) string {
	if text == "" || strings.HasSuffix(text, "\n") {
		return text
	}
	return text + "\n"
}

// interval is how often Wait checks.
const interval = 200 * time.Millisecond

// Wait waits until done returns true. what completes "still not: ".
func (l *Lab) Wait(what string, done func() bool) {
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			l.Failf("after %s still not: %s", patience, what)
		}
		select {
		case <-l.ctx.Done():
			l.Failf("given up: %v", context.Cause(l.ctx))
		case <-time.After(interval):
		}
	}
}

// Equal ends the scenario if two values differ.
func (l *Lab) Equal(what string, got, want any) {
	if got != want {
		l.Failf("%s is %v, not %v", what, got, want)
	}
}

// Contains ends the scenario if text lacks part.
func (l *Lab) Contains(what, text, part string) {
	if !strings.Contains(text, part) {
		l.Failf("%s lacks %q:\n%s", what, part, text)
	}
}

// Reboot reboots the lab host in an orderly way and returns when it is up again.
func (l *Lab) Reboot() { l.again("reboot", l.machine.Reboot) }

// Cut cuts the lab host's power, boots it, and returns when it is up again.
func (l *Lab) Cut() { l.again("power cut", l.machine.Cut) }

func (l *Lab) again(what string, do func(context.Context) error) {
	fmt.Fprintf(l.script, "%s %s\n", time.Now().Format("15:04:05"), what)
	l.booting.Lock()
	defer l.booting.Unlock()
	l.conn.Close()
	err := do(l.ctx)
	if err == nil {
		l.conn, err = l.machine.Connect(l.ctx)
	}
	if err != nil {
		l.Failf("%s: %v", what, err)
	}
	l.Run(traceEnds)
	l.faults = 0
}
