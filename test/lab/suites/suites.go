// Package suites runs test programs in the lab host: sessions, contracts and tests that
// need that machine. A suite is compiled here, copied there, and run as root; the lab
// has no Go.
package suites

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"banger/test/harness"
)

// Suite is a test program and how it runs.
type Suite struct {
	Name    string
	Package string   // below the repository
	Run     string   // the tests, in the syntax of -test.run; empty: all
	Data    []string // directories that it reads, below the repository
	Env     []string // NAME=value
	Short   bool     // with -test.short
	// Installed: it needs an installed banger, and no other VMs.
	Installed bool
	// Firecracker: it needs firecracker and jailer.
	Firecracker bool
	Limit       time.Duration
}

const system = "BANGER_TEST_SYSTEM=1"

var sessions = []string{"test/system/testdata", "test/script/testdata", "test/e2e/testdata"}

// All are the suites; those that need no installation come first.
var All = []Suite{
	{Name: "blockdev", Package: "internal/host/blockdev", Data: []string{"internal/host/blockdev/testdata"}, Limit: 5 * time.Minute},
	{Name: "disk-dmsnap", Package: "internal/disk/dmsnap", Limit: 2 * time.Minute},
	{Name: "systemd-live", Package: "internal/host/systemd", Run: "Live", Limit: 2 * time.Minute},
	{Name: "contract-firecracker", Package: "internal/driver/jailed", Run: "^TestContractFirecracker$", Env: []string{system}, Installed: true, Firecracker: true, Limit: 15 * time.Minute},
	{Name: "contract-qemu", Package: "internal/driver/jailed", Run: "^TestContractQEMU$", Env: []string{system}, Installed: true, Limit: 15 * time.Minute},
	{Name: "4-sessions", Package: "test/system", Short: true, Data: sessions, Env: []string{system}, Installed: true, Limit: 20 * time.Minute},
	{Name: "4-sessions-all", Package: "test/system", Data: sessions, Env: []string{system}, Installed: true, Limit: 40 * time.Minute},
}

// Lab is what a suite needs of the lab host, where its commands run as root.
type Lab interface {
	Push(ctx context.Context, from, to string) error
	// Output runs a command and returns its standard output; a status other than 0 is
	// an error.
	Output(ctx context.Context, argv ...string) (string, error)
}

// labDir is the directory of suites in the lab, with the layout of the repository.
const labDir = "/root/suites"

// Result is the result of a suite.
type Result struct {
	Report
	Took time.Duration // in the lab, compilation and copying left out
}

// Do compiles a suite, runs it in the lab, and writes the output of failed tests to w.
// The error means that tests failed, or that they could not be run.
func (s Suite) Do(ctx context.Context, lab Lab, w io.Writer) (Result, error) {
	staged, err := os.MkdirTemp("", "banger-suite-")
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(staged)
	if err := s.stage(ctx, staged); err != nil {
		return Result{}, err
	}
	if _, err := lab.Output(ctx, "sh", "-c", "rm -rf "+labDir+" && mkdir "+labDir); err != nil {
		return Result{}, err
	}
	entries, err := os.ReadDir(staged)
	if err != nil {
		return Result{}, err
	}
	for _, e := range entries {
		if err := lab.Push(ctx, filepath.Join(staged, e.Name()), labDir+"/"); err != nil {
			return Result{}, fmt.Errorf("cannot copy suite %s into the lab: %w", s.Name, err)
		}
	}
	return s.run(ctx, lab, w)
}

// stage puts the suite's program and data into dir.
func (s Suite) stage(ctx context.Context, dir string) error {
	root, err := harness.Repository()
	if err != nil {
		return err
	}
	program := filepath.Join(dir, s.Package, "suite.test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-ldflags=-s -w", "-o", program, "./"+s.Package)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot compile suite %s: %w\n%s", s.Name, err, out)
	}
	for _, data := range s.Data {
		if err := os.CopyFS(filepath.Join(dir, data), os.DirFS(filepath.Join(root, data))); err != nil {
			return fmt.Errorf("cannot copy the data of suite %s: %w", s.Name, err)
		}
	}
	return nil
}

// run runs the copied suite. Its output is returned in a file: a command's output is
// only passed on if it succeeds.
func (s Suite) run(ctx context.Context, lab Lab, w io.Writer) (Result, error) {
	began := time.Now()
	status, err := lab.Output(ctx, "sh", "-c", s.script())
	if err != nil {
		return Result{}, fmt.Errorf("cannot run suite %s: %w", s.Name, err)
	}
	r := Result{Took: time.Since(began)}
	out, err := lab.Output(ctx, "cat", labDir+"/out")
	if err != nil {
		return r, fmt.Errorf("cannot read the output of suite %s: %w", s.Name, err)
	}
	r.Report = Parse(out)
	switch status = strings.TrimSpace(status); {
	case status == "0" && r.Passed == 0:
		return r, errors.New("no test of suite " + s.Name + " ran")
	case status == "0":
		return r, nil
	case len(r.Failed) == 0: // the program crashed
		fmt.Fprintln(w, tail(out))
	default:
		fmt.Fprint(w, r.Output)
	}
	return r, fmt.Errorf("suite %s: status %s, failed: %s", s.Name, status, strings.Join(r.Failed, ", "))
}

func (s Suite) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cd '%s' && ", path.Join(labDir, s.Package))
	for _, v := range s.Env {
		fmt.Fprintf(&b, "export '%s'; ", v)
	}
	fmt.Fprintf(&b, "./suite.test -test.v -test.short=%t -test.timeout=%s -test.run='%s' >%s/out 2>&1; echo $?", s.Short, s.Limit, s.Run, labDir)
	return b.String()
}

// tail returns the end of a long text.
func tail(text string) string {
	const most = 8 << 10
	return text[max(0, len(text)-most):]
}
