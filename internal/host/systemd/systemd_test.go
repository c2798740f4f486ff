package systemd

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/golden"
)

const vmUnit = "banger-vm-0123456789ab.service"

// everySetting is a sandbox that has them all.
func everySetting() Sandbox {
	return Sandbox{
		NetworkNamespacePath: "/run/netns/banger-0123456789ab", DevicePolicy: "closed",
		DeviceAllow: []Device{{"/dev/kvm", "rw"}, {"/dev/net/tun", "rw"}}, NoNewPrivileges: true,
		CapabilityBoundingSet: []int{unix.CAP_SETUID, unix.CAP_SYS_ADMIN}, RestrictNamespaces: []uint64{unix.CLONE_NEWNS, unix.CLONE_NEWNET},
		AddressFamilies: []string{"AF_UNIX"}, SystemCalls: []string{"@system-service", "seccomp"},
		NativeSystemCalls: true, LockPersonality: true, RestrictRealtime: true, RestrictSUIDSGID: true,
		MemoryDenyWriteExecute: true, ProtectClock: true, ProtectHostname: true, UMask: 0o077, KeyringMode: "private",
		Files: FileView{
			ProtectSystem: "strict", ProtectHome: "yes", ReadWritePaths: []string{"/var/lib/banger"},
			InaccessiblePaths: []string{"-/dev/shm"}, Empty: []string{"/run"}, BindPaths: []string{"/var/lib/x"},
			PrivateMounts: true, PrivateIPC: true, ProtectKernelTunables: true, ProtectKernelModules: true, ProtectKernelLogs: true,
			ProtectControlGroups: true, ProtectProc: "invisible", ProcSubset: "pid",
		},
	}
}

// TestEverySettingIsTested: the unit above leaves none out.
func TestEverySettingIsTested(t *testing.T) {
	s := everySetting()
	for _, v := range []reflect.Value{reflect.ValueOf(s), reflect.ValueOf(s.Files)} {
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%s is not set", v.Type().Field(i).Name)
			}
		}
	}
}

func TestStartTransientSendsEverySetting(t *testing.T) {
	f := newFake(t)
	out, err := os.CreateTemp(t.TempDir(), "console")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	u := Unit{
		Name: vmUnit, Description: "a VM", Slice: "banger.slice", Exec: []string{"/usr/bin/jailer", "--id", "x"},
		Environment: []string{"A=b"}, Stdout: out, Stderr: out, Credential: &Credential{UID: 1900000007, GID: 1900000007},
		MemoryMax: 1 << 30, CPUWeight: 200, CPUQuota: 1500 * time.Millisecond, TasksMax: 64,
		NoSwap: true, IOWeight: 50, Sandbox: everySetting(), KillMode: "mixed", TimeoutStop: 5 * time.Second, OOMPolicy: "stop",
		OOMScoreAdjust: 100, LimitNOFILE: 1024, Restart: "on-failure", RestartDelay: 2 * time.Second,
	}
	if err := f.bus().StartTransient(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var sent []property
	if err := dbus.Store([]any{f.started}, &sent); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, p := range sent {
		text.WriteString(p.Name + " " + p.Value.Signature().String() + " " + p.Value.String() + "\n")
	}
	golden.Check(t, "unit.txt", text.String())
	file, err := u.File()
	if err != nil {
		t.Error(err)
	}
	golden.Check(t, "unit.service", file)

	if len(f.files) != 2 {
		t.Fatalf("%d descriptors arrived, not 2", len(f.files))
	}
	if _, err := f.files[1].WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(out.Name()); string(data) != "hello" {
		t.Errorf("the descriptor that arrived is another file: %q", data)
	}
}

func TestAFailedStartSaysWhyAndLeavesNothing(t *testing.T) {
	f := newFake(t)
	f.set(func() { f.result = "failed" })
	f.set(func() {
		f.state = map[string]dbus.Variant{
			"Result": dbus.MakeVariant("exit-code"), "ExecMainCode": dbus.MakeVariant(int32(1)), "ExecMainStatus": dbus.MakeVariant(int32(203)),
		}
	})
	err := f.bus().StartTransient(t.Context(), Unit{Name: vmUnit, Exec: []string{"/nowhere"}})
	want := `cannot start ` + vmUnit + `: the job's result is "failed": exit-code, status 203 (executing the program)`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if last := f.calls[len(f.calls)-1]; last != "ResetFailedUnit "+vmUnit {
		t.Errorf("the last call was %q", last)
	}
}

// TestAHeldUnitIsForgottenOnce: systemd counts references, and forgets a unit that has
// ended when the last one is given back.
func TestAHeldUnitIsForgottenOnce(t *testing.T) {
	f := newFake(t)
	b := &Bus{dial: func(ctx context.Context) (*link, error) {
		l, err := newLink(ctx, f.address, false)
		if err == nil {
			l.bus = true
		}
		return l, err
	}}
	defer b.Close()
	unrefs := func(want int) {
		t.Helper()
		// Nothing answers an Unref: a call behind it has an answer.
		if _, err := b.MainPID(t.Context(), vmUnit); err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		got := 0
		for _, call := range f.calls {
			if call == "Unref" {
				got++
			}
		}
		if got != want {
			t.Errorf("%d references were given back, not %d", got, want)
		}
	}
	f.set(func() { f.state = map[string]dbus.Variant{"MainPID": dbus.MakeVariant(uint32(42))} })
	u := Unit{Name: vmUnit, Exec: []string{"/bin/true"}}
	forget, err := b.StartHeld(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	unrefs(0)
	forget()
	unrefs(1)
	if err := b.StartTransient(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	unrefs(2)
	f.set(func() { f.result = "failed" })
	if forget, err := b.StartHeld(t.Context(), u); err == nil || forget != nil {
		t.Error("a failed start is held")
	}
	unrefs(3)
}

func TestErrorsHaveKinds(t *testing.T) {
	for name, want := range map[string]api.Kind{
		service + ".UnitExists":                   api.KindExists,
		"org.freedesktop.DBus.Error.AccessDenied": api.KindDenied,
		"org.freedesktop.DBus.Error.InvalidArgs":  api.KindInternal,
	} {
		f := newFake(t)
		f.set(func() { f.refuse["StartTransientUnit"] = name })
		err := f.bus().StartTransient(t.Context(), Unit{Name: vmUnit, Exec: []string{"/bin/true"}})
		if api.KindOf(err) != want {
			t.Errorf("%s: %v is of kind %q, not %q", name, err, api.KindOf(err), want)
		}
	}
}

func TestAbsentIsSuccess(t *testing.T) {
	f := newFake(t)
	b := f.bus()
	for _, method := range []string{"StopUnit", "KillUnit", "ResetFailedUnit"} {
		f.set(func() { f.refuse[method] = service + ".NoSuchUnit" })
	}
	f.set(func() { f.state = map[string]dbus.Variant{"MainPID": dbus.MakeVariant(uint32(0))} })
	pid, err := b.MainPID(t.Context(), vmUnit)
	if pid != 0 {
		t.Error(pid)
	}
	exists, existsErr := b.Exists(t.Context(), vmUnit)
	if exists {
		t.Error("it exists")
	}
	if err := errors.Join(err, existsErr, b.Stop(t.Context(), vmUnit), b.Kill(t.Context(), vmUnit, syscall.SIGKILL), b.ResetFailed(t.Context(), vmUnit)); err != nil {
		t.Error(err)
	}
}

func TestStateAndList(t *testing.T) {
	f := newFake(t)
	b := f.bus()
	f.set(func() {
		f.state = map[string]dbus.Variant{
			"ActiveState": dbus.MakeVariant("active"), "SubState": dbus.MakeVariant("running"), "MainPID": dbus.MakeVariant(uint32(42)),
			"StateChangeTimestamp": dbus.MakeVariant(uint64(1_700_000_000_000_000)),
		}
	})
	s, err := b.State(t.Context(), "bangerd.service")
	if err != nil || s.Active != "active" || s.MainPID != 42 || s.Since.Unix() != 1_700_000_000 {
		t.Errorf("%+v %v", s, err)
	}
	if pid, err := b.MainPID(t.Context(), vmUnit); err != nil || pid != 42 {
		t.Error(pid, err)
	}
	f.set(func() {
		f.units = []listed{{Name: vmUnit, Load: "loaded", Active: "active", Sub: "running", Path: unitPath(vmUnit), JobPath: "/"}}
	})
	units, err := b.List(t.Context(), "banger-vm-*.service")
	if err != nil || len(units) != 1 || units[0].Name != vmUnit || units[0].Active != "active" {
		t.Errorf("%+v %v", units, err)
	}
	if err := errors.Join(b.Enable(t.Context(), "a.service"), b.Reload(t.Context()), b.Restart(t.Context(), "a.service")); err != nil {
		t.Error(err)
	}
}

func TestALostConnectionIsMadeAnew(t *testing.T) {
	f := newFake(t)
	b := f.bus()
	f.set(func() { f.state = map[string]dbus.Variant{"MainPID": dbus.MakeVariant(uint32(42))} })
	for range 3 {
		f.set(func() { f.dropNext = true }) // while the question is under way
		if pid, err := b.MainPID(t.Context(), vmUnit); err != nil || pid != 42 {
			t.Fatal(pid, err)
		}
		f.drop() // between two questions: what was lost under way may have been started
		<-b.link.conn.Context().Done()
		if err := b.StartTransient(t.Context(), Unit{Name: vmUnit, Exec: []string{"/bin/true"}}); err != nil {
			t.Fatal(err)
		}
		f.drop()
		if pid, err := b.MainPID(t.Context(), vmUnit); err != nil || pid != 42 {
			t.Fatal(pid, err)
		}
	}
}

func TestAJobThatDoesNotEnd(t *testing.T) {
	f := newFake(t)
	b := f.bus()
	f.set(func() { f.result = "" })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.Stop(ctx, vmUnit); api.KindOf(err) != api.KindTimeout {
		t.Error(err)
	}
	go func() {
		for {
			f.mu.Lock()
			waits := len(f.calls) > 1
			f.mu.Unlock()
			if waits {
				f.drop()
				return
			}
		}
	}()
	if err := b.StartTransient(t.Context(), Unit{Name: vmUnit, Exec: []string{"/bin/true"}}); err == nil {
		t.Error("a job whose end nobody saw is no success")
	}
}

func TestUnitPath(t *testing.T) {
	if got := unitPath("a-1.service"); got != "/org/freedesktop/systemd1/unit/a_2d1_2eservice" {
		t.Error(got)
	}
}

func TestNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify(Ready); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := Notify(Ready); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, err := l.Read(buf)
	if err != nil || string(buf[:n]) != "READY=1" {
		t.Error(string(buf[:n]), err)
	}
	t.Setenv("NOTIFY_SOCKET", path+"-gone")
	if err := Notify(Ready); err == nil {
		t.Error("nobody listens, and nothing was said")
	}
}
