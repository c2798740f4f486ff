package systemd

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
)

// liveUnit is a VM's name that nobody has: ids are random.
const liveUnit = "banger-vm-ffffffffffff.service"

// live connects to the systemd that runs this machine.
func live(t *testing.T) *Bus {
	t.Helper()
	if _, err := os.Stat("/run/systemd/system"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root on a machine that systemd runs: the lab host is one")
	}
	b, err := Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.Stop(context.Background(), liveUnit)
		_ = b.ResetFailed(context.Background(), liveUnit)
		b.Close()
	})
	return b
}

func TestLiveUnit(t *testing.T) {
	b := live(t)
	out, err := os.OpenFile(filepath.Join(t.TempDir(), "out"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	u := Unit{
		Name: liveUnit, Description: "a test of banger", Slice: "banger.slice",
		Exec:   []string{"/bin/sh", "-c", "id -u; id -g; ulimit -c; cat /proc/self/cgroup; grep CapBnd /proc/self/status; echo $WHO; exec sleep 600"},
		Stdout: out, Stderr: out, Environment: []string{"WHO=banger"}, Credential: &Credential{UID: 65534, GID: 65534},
		MemoryMax: 64 << 20, CPUWeight: 50, CPUQuota: time.Second, TasksMax: 32,
		Sandbox:  Sandbox{DevicePolicy: "closed", DeviceAllow: []Device{{"/dev/null", "rw"}}, NoNewPrivileges: true, CapabilityBoundingSet: []int{unix.CAP_SETUID}},
		KillMode: "mixed", TimeoutStop: 5 * time.Second, OOMPolicy: "stop", OOMScoreAdjust: 100, LimitNOFILE: 512,
	}
	began := time.Now()
	if err := b.StartTransient(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %s", time.Since(began))
	pid, err := b.MainPID(t.Context(), liveUnit)
	if err != nil || pid == 0 {
		t.Fatal(pid, err)
	}
	text := said(t, out.Name(), "banger\n")
	if exists, err := b.Exists(t.Context(), liveUnit); err != nil || !exists {
		t.Error(exists, err)
	}
	if err := b.StartTransient(t.Context(), u); api.KindOf(err) != api.KindExists {
		t.Error("a second one:", err)
	}
	if s, err := b.State(t.Context(), liveUnit); err != nil || s.Active != "active" || time.Since(s.Since) > time.Minute {
		t.Errorf("%+v %v", s, err)
	}
	if err := b.Kill(t.Context(), liveUnit, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	vanishes(t, b)
	for _, want := range []string{"65534\n65534\n0\n", "banger.slice/" + liveUnit, "CapBnd:\t0000000000000080", "banger\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// said waits until a file contains the last thing that a program says.
func said(t *testing.T, path, last string) string {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(path)
		if err != nil || strings.Contains(string(text), last) || time.Now().After(deadline) {
			return string(text)
		}
	}
}

// vanishes waits until the unit is gone, as it must without anybody's help.
func vanishes(t *testing.T, b *Bus) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		exists, err := b.Exists(t.Context(), liveUnit)
		if err != nil || time.Now().After(deadline) {
			t.Fatal("the unit is still there", err)
		}
		if !exists {
			return
		}
	}
}

// TestLiveEnd: systemd tells how a unit ended that is held, and forgets it afterwards.
func TestLiveEnd(t *testing.T) {
	b := live(t)
	forget, err := b.StartHeld(t.Context(), Unit{Name: liveUnit, Exec: []string{"/bin/sh", "-c", "exit 7"}})
	if err != nil {
		t.Fatal(err)
	}
	var s State
	for deadline := time.Now().Add(time.Minute); !s.Ended() && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if s, err = b.State(t.Context(), liveUnit); err != nil {
			t.Fatal(err)
		}
	}
	if s.Why() != ": exit-code, status 7" {
		t.Errorf("%+v", s)
	}
	forget()
	vanishes(t, b)
}

func TestLiveFailures(t *testing.T) {
	b := live(t)
	for name, c := range map[string]struct {
		unit Unit
		want string
	}{
		"no such program": {Unit{Exec: []string{"/no/such/program"}}, "status 203 (executing the program)"},
		"no such user":    {Unit{Exec: []string{"/bin/true"}, Credential: &Credential{UID: 1900000007, GID: 1900000007}}, "status 217 (its user)"},
		"no such network": {Unit{Exec: []string{"/bin/true"}, Sandbox: Sandbox{NetworkNamespacePath: "/run/netns/none"}}, "status 225 (its network namespace)"},
	} {
		t.Run(name, func(t *testing.T) {
			c.unit.Name = liveUnit
			err := b.StartTransient(t.Context(), c.unit)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
			vanishes(t, b)
		})
	}
	for _, err := range []error{
		b.Stop(t.Context(), liveUnit), b.Kill(t.Context(), liveUnit, syscall.SIGKILL), b.ResetFailed(t.Context(), liveUnit),
		b.Disable(t.Context(), "banger-none.service"), b.Reload(t.Context()),
	} {
		if err != nil {
			t.Error("absent is success:", err)
		}
	}
	if err := b.Restart(t.Context(), "banger-none.service"); api.KindOf(err) != api.KindNotFound {
		t.Error(err)
	}
	if s, err := b.State(t.Context(), "banger-none.service"); err != nil || s.Load != "not-found" {
		t.Errorf("%+v %v", s, err)
	}
}

// TestLiveWithoutMessageBus: root reaches PID 1 where no message bus runs.
func TestLiveWithoutMessageBus(t *testing.T) {
	live(t)
	b := &Bus{dial: func(ctx context.Context) (*link, error) { return newLink(ctx, privateBus, false) }}
	defer b.Close()
	if err := b.StartTransient(t.Context(), Unit{Name: liveUnit, Exec: []string{"/bin/sleep", "600"}}); err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(t.Context(), liveUnit); err != nil {
		t.Error(err)
	}
	vanishes(t, b)
	if err := b.StartTransient(t.Context(), Unit{Name: liveUnit, Exec: []string{"/no/such"}}); err == nil {
		t.Error("a program that is not there was started")
	}
	vanishes(t, b)
}
