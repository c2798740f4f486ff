package freezer

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// realTree makes a cgroup of this machine that stands for the root of a guest's.
func realTree(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		field := strings.Fields(line)
		if len(field) < 3 || field[2] != "cgroup2" {
			continue
		}
		dir, err := os.MkdirTemp(field[1], "banger-test-")
		if err != nil {
			t.Skipf("NOT RUN: real cgroups, because this user may not make one: %v", err)
		}
		t.Cleanup(func() {
			for _, group := range []string{"agent", "services/one", "services", Work, outside, ""} {
				if err := os.Remove(filepath.Join(dir, group)); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Error(err)
				}
			}
		})
		return dir
	}
	t.Skip("NOT RUN: real cgroups, because cgroup2 is not mounted here")
	return ""
}

// counter is a process that counts, once it has a line to start with.
type counter struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

// TestMain makes this program count, if a test has started it for that: a shell would start another
// program for each pause.
func TestMain(m *testing.M) {
	if os.Getenv("BANGER_TEST_COUNT") == "" {
		os.Exit(m.Run())
	}
	for i := 1; ; i++ {
		if _, err := fmt.Println(i); err != nil {
			os.Exit(1)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func startCounter(t *testing.T, start func(*exec.Cmd) error) *counter {
	t.Helper()
	c := &counter{cmd: exec.Command("/proc/self/exe")}
	c.cmd.Env = append(os.Environ(), "BANGER_TEST_COUNT=1")
	c.cmd.SysProcAttr = &syscall.SysProcAttr{}
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = start(c.cmd)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.cmd.Process.Kill() // which a frozen one obeys
		c.cmd.Wait()
	})
	c.lines = bufio.NewScanner(out)
	return c
}

// startIn starts a counter in a group.
func startIn(t *testing.T, dir string) *counter {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	return startCounter(t, func(cmd *exec.Cmd) error {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
		return cmd.Start()
	})
}

// next returns the next number.
func (c *counter) next(t *testing.T) int {
	t.Helper()
	if !c.lines.Scan() {
		t.Fatal("it has ended")
	}
	n, err := strconv.Atoi(c.lines.Text())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// switches returns how often a process has left its processor, which one that runs does all the time.
func (c *counter) switches(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(c.cmd.Process.Pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "voluntary_ctxt_switches:")
	return rest
}

func (c *counter) group(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(c.cmd.Process.Pid) + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return filepath.Base(strings.TrimSpace(path))
		}
	}
	return ""
}

// TestRealCgroups freezes programs, a service and what an init without cgroups has started; the one
// that stands for the agent continues.
func TestRealCgroups(t *testing.T) {
	dir := realTree(t)
	agent := startIn(t, filepath.Join(dir, "agent"))
	service := startIn(t, filepath.Join(dir, "services/one"))
	stray := startIn(t, dir)
	f := Open(Options{Dir: dir, Keep: []int{agent.cmd.Process.Pid}, Record: filepath.Join(t.TempDir(), "record"), Limit: 20 * time.Second})
	program := startCounter(t, func(cmd *exec.Cmd) error {
		return f.Spawn(t.Context(), cmd.SysProcAttr, cmd.Start)
	})
	all := []*counter{service, stray, program}
	for _, c := range append(all, agent) {
		c.next(t)
	}
	if group := program.group(t); group != Work {
		t.Errorf("a program is in %s", group)
	}
	for _, attempt := range []string{"a", "b"} {
		began := time.Now()
		got, err := f.Freeze(t.Context(), attempt)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("frozen in %v: %+v", time.Since(began), got)
		if groups := strings.Join(got.Groups, " "); groups != "banger-outside banger-work services" || got.Outside != nil || got.Processes < 3 {
			t.Errorf("%q, %+v", groups, got)
		}
		var before []string
		for _, c := range all {
			before = append(before, c.switches(t))
		}
		for n := agent.next(t) + 20; agent.next(t) < n; { // 0.2 s at least, in which it alone continues
		}
		for i, c := range all {
			if now := c.switches(t); now != before[i] {
				t.Errorf("process %d ran: %s, then %s", i, before[i], now)
			}
		}
		if _, err := f.Thaw(attempt); err != nil {
			t.Fatal(err)
		}
		for _, c := range all { // all lines, in order
			for n := c.next(t); ; n++ {
				if got := c.next(t); got != n+1 {
					t.Errorf("%d follows %d", got, n)
				}
				if n > 20 {
					break
				}
			}
		}
	}
	if group := stray.group(t); group != filepath.Base(dir) {
		t.Errorf("what was moved is in %s", group)
	}
}
