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

// shell runs commands in the lab, as root and as the owner.
type shell struct {
	checks *checks
	conn   *host.Conn // another one after each boot
}

// Result is the result of a command.
type Result struct {
	Command string
	Status  int
	Output  string // standard output and standard error, as they came
	Stdout  string // only standard output
}

// Try runs a shell command as root, whatever its status.
func (s *shell) Try(command string, args ...any) Result { return s.run("root", expand(command, args)) }

// Run runs a shell command as root, which has to succeed, and returns its standard
// output without the white space at its ends.
func (s *shell) Run(command string, args ...any) string {
	return s.must(s.run("root", expand(command, args)))
}

// TryDev runs a shell command as the owner, whatever its status.
func (s *shell) TryDev(command string, args ...any) Result {
	return s.run(owner, expand(command, args))
}

// Dev runs a shell command as the owner, which has to succeed.
func (s *shell) Dev(command string, args ...any) string {
	return s.must(s.run(owner, expand(command, args)))
}

// Fails runs a shell command as the owner, which has to fail and to print want.
func (s *shell) Fails(command, want string) { s.failed(s.run(owner, command), want) }

// RootFails runs a shell command as root, which has to fail and to print want.
func (s *shell) RootFails(command, want string) { s.failed(s.run("root", command), want) }

func (s *shell) failed(r Result, want string) {
	if r.Status == 0 {
		s.checks.Failf("succeeded, but should not: %s\n%s", r.Command, r.Output)
	}
	if !strings.Contains(r.Output, want) {
		s.checks.Failf("failed without %q: %s\n%s", want, r.Command, r.Output)
	}
}

func (s *shell) must(r Result) string {
	if r.Status != 0 {
		s.checks.Failf("status %d: %s\n%s", r.Status, r.Command, r.Output)
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

func (s *shell) run(user, command string) Result {
	ctx, cancel := context.WithTimeoutCause(s.checks.ctx, patience, fmt.Errorf("it took more than %s", patience))
	defer cancel()
	argv := []string{"bash", "-c", command}
	dir := "/root"
	if user != "root" {
		argv, dir = append([]string{"runuser", "-u", user, "--"}, argv...), "/home/"+user
	}
	var out output
	var stdout strings.Builder
	begin := time.Now()
	status, err := s.conn.Exec(ctx, api.Exec{Argv: argv, Dir: dir, Env: []string{"HOME=" + dir}}, host.Streams{Out: io.MultiWriter(&stdout, &out), Err: &out})
	fmt.Fprintf(s.checks.script, "%s %s$ %s\n%s[status %d, %.1f s]\n", begin.Format("15:04:05"), user, command, ended(out.String()), status, time.Since(begin).Seconds())
	if err != nil {
		s.checks.Failf("cannot run in the lab: %s\n%v\n%s", command, err, out.String())
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
