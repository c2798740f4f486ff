package drivertest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"banger/internal/driver"
	"banger/internal/host/proc"
)

// starterEnv holds the machine that a process of the test's own program starts before it
// kills itself.
const starterEnv = "BANGER_DRIVERTEST_STARTER"

// StarterMain returns immediately, unless this process was started to start a machine and
// kill itself. TestMain calls it with the driver to use.
func StarterMain(d func() driver.Driver) {
	text := os.Getenv(starterEnv)
	if text == "" {
		return
	}
	os.Unsetenv(starterEnv)
	var s driver.Spec
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		var m driver.Machine
		if m, err = d().Start(context.Background(), s); err == nil {
			fmt.Println(m.PID())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// As a daemon that is killed.
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	fmt.Fprintln(os.Stderr, err)
	select {}
}

func testOutlives(t *testing.T, h Harness) {
	s := h.Spec(t, idA)
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	starter := exec.CommandContext(t.Context(), os.Args[0])
	starter.Env = append(os.Environ(), starterEnv+"="+string(text))
	starter.Stderr = os.Stderr
	out, _ := starter.Output() // it kills itself
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatalf("the starter said %q", out)
	}
	d := h.New(t)
	m, err := d.Recover(t.Context(), s.ID, s.Dir, nil)
	if err != nil {
		t.Fatalf("Recover after its starter's death: %v", err)
	}
	t.Cleanup(func() { end(t, m) })
	if m.PID() != pid {
		t.Errorf("pid %d, started was %d", m.PID(), pid)
	}
	answers(t, h, m)
	if err := m.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code := m.Exit().Code; code != -1 {
		t.Errorf("exit code %d of a process that is not our child", code)
	}
	if _, err := proc.Open(pid); err == nil {
		t.Logf("process %d waits for init to reap it", pid)
	}
}
