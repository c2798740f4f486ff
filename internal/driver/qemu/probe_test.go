package qemu

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest/agentproto"
	"banger/internal/paths"
)

func TestListen(t *testing.T) {
	tests := map[string]struct {
		said   string
		close  bool
		waits  bool
		pauses bool
		reason string
	}{
		"greets":       {said: "early\n" + agentproto.ProbeGreeting + "\r\n"},
		"silent":       {reason: "wrote no output"},
		"hangs":        {waits: true, said: "early printk\n", reason: "did not boot within"},
		"pauses":       {pauses: true, said: "early printk\n", reason: "nothing more for 100ms"},
		"ends":         {said: "qemu: kvm: broken\n", close: true, reason: "cannot run a guest"},
		"ends at once": {close: true, reason: "cannot run a guest"},
		"babbles":      {said: strings.Repeat("no use\n", probeOutput/7+1), reason: "without end"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			out, in, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = in.WriteString(test.said)
				if test.close {
					in.Close()
				}
			}()
			first, pause, total := time.Minute, time.Minute, time.Minute // nobody has to hurry
			if test.said == "" && !test.close {
				first = 50 * time.Millisecond
			}
			if test.waits {
				total = 100 * time.Millisecond
			}
			if test.pauses {
				pause = 100 * time.Millisecond
			}
			reason, _ := listen(out, patience{first, pause, total})
			out.Close()
			<-done
			in.Close()
			if (reason == "") != (test.reason == "") || !strings.Contains(reason, test.reason) {
				t.Errorf("reason %q, want %q", reason, test.reason)
			}
		})
	}
}

// fakeQEMU is a program that tells a version and otherwise does what script says.
func fakeQEMU(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qemu")
	text := "#!/bin/sh\n[ \"$1\" = --version ] && { echo 'QEMU emulator version 9.8.7 (Test)'; exit 0; }\n" + script + "\n"
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestProbeIsCached(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	qemu := fakeQEMU(t, "echo x >> "+count+"; echo "+agentproto.ProbeGreeting)
	p := paths.Paths{Cache: filepath.Join(t.TempDir(), "new", "cache")}
	o := Options{Binary: qemu, KVM: os.DevNull}
	for i, d := range []*Driver{New(p, o), New(p, o)} {
		for range 2 {
			if found, err := d.Probe(t.Context(), "kernel", "initramfs"); err != nil || found.Accel != KVM || found.Version != "9.8.7" {
				t.Errorf("driver %d: %+v, %v", i, found, err)
			}
		}
	}
	if boots, err := os.ReadFile(count); err != nil || string(boots) != "x\n" {
		t.Errorf("boots: %q, %v", boots, err)
	}
	for _, damage := range []string{"", "{", `{"version": 5}`, `{"version":"9.8.7","tried":true,"boots":false}`} {
		if err := os.WriteFile(p.Probe(), []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if found, err := New(p, o).Probe(t.Context(), "kernel", "initramfs"); err != nil || found.Accel != KVM {
			t.Errorf("cache %q: %+v, %v", damage, found, err)
		}
	}
}

// TestProbeTwice: a no, which is kept, takes two tries.
func TestProbeTwice(t *testing.T) {
	for works, want := range map[int]string{2: KVM, 3: TCG} {
		count := filepath.Join(t.TempDir(), "count")
		qemu := fakeQEMU(t, fmt.Sprintf("echo x >> %[1]s; [ $(wc -l < %[1]s) -lt %[2]d ] || echo %[3]s", count, works, agentproto.ProbeGreeting))
		d := New(paths.Paths{Cache: t.TempDir()}, Options{Binary: qemu, KVM: os.DevNull})
		for range 2 {
			if found, err := d.Probe(t.Context(), "kernel", "initramfs"); err != nil || found.Accel != want {
				t.Errorf("try %d works: %+v, %v", works, found, err)
			}
		}
		if boots, err := os.ReadFile(count); err != nil || string(boots) != "x\nx\n" {
			t.Errorf("try %d works: boots: %q, %v", works, boots, err)
		}
	}
}

func TestProbeWithoutBoot(t *testing.T) {
	p := paths.Paths{Cache: t.TempDir()}
	qemu := fakeQEMU(t, "exit 1")
	closed := filepath.Join(t.TempDir(), "kvm")
	for name, test := range map[string]struct {
		o      Options
		accel  string
		reason string
	}{
		"untried":   {Options{KVM: os.DevNull}, TCG, "when the first VM starts"},
		"no KVM":    {Options{KVM: closed}, TCG, "this machine has no"},
		"tcg set":   {Options{Accel: TCG, KVM: os.DevNull}, TCG, "configuration"},
		"kvm set":   {Options{Accel: KVM, KVM: closed}, KVM, ""},
		"no device": {Options{KVM: "/"}, TCG, "cannot be used"},
	} {
		test.o.Binary = qemu
		found, err := New(p, test.o).Probe(t.Context(), "", "")
		if err != nil || found.Accel != test.accel || !strings.Contains(found.Reason, test.reason) {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
	d := New(p, Options{Binary: qemu, KVM: os.DevNull})
	if found, err := d.Probe(t.Context(), "kernel", "initramfs"); err != nil || found.Accel != TCG || !strings.Contains(found.Reason, "cannot run a guest") {
		t.Errorf("no boot: %+v, %v", found, err)
	}
}

func TestProbeOfMissingQEMU(t *testing.T) {
	p := paths.Paths{Cache: t.TempDir()}
	_, err := New(p, Options{Binary: "qemu-that-is-not-there"}).Probe(t.Context(), "", "")
	if api.KindOf(err) != api.KindUnsupported || !strings.Contains(api.AsError(err).Hint, debianPackage) {
		t.Errorf("error %v, hint %q", err, api.AsError(err).Hint)
	}
	_, err = New(p, Options{Binary: "/bin/true"}).Probe(t.Context(), "", "")
	if api.KindOf(err) != api.KindUnsupported {
		t.Errorf("a program that is no QEMU: %v", err)
	}
}
