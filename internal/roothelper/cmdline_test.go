package roothelper

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"banger/internal/rootapi"
)

// scribble does to the command line of a VMM what one that was taken over can do to
// its own.
func scribble(t *testing.T, pid int, change func([]byte) []byte) {
	t.Helper()
	start, end := argumentsOf(t, pid)
	mem, err := os.OpenFile(filepath.Join("/proc", itoa(pid), "mem"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	args := make([]byte, end-start)
	if _, err := mem.ReadAt(args, start); err != nil {
		t.Fatal(err)
	}
	if _, err := mem.WriteAt(change(args), start); err != nil {
		t.Fatal(err)
	}
}

// argumentsOf returns where a process's arguments are. A program has its name before it has
// them (fs/exec.c, fs/binfmt_elf.c), so that it waits for them.
func argumentsOf(t *testing.T, pid int) (start, end int64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "stat"))
		if err != nil {
			t.Fatal(err)
		}
		f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		const argStart, argEnd = 48 - 3, 49 - 3 // proc_pid_stat(5)
		start, err1 := strconv.ParseInt(string(f[argStart]), 10, 64)
		end, err2 := strconv.ParseInt(string(f[argEnd]), 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if end > start {
			return start, end
		}
	}
	t.Fatalf("process %d has no arguments", pid)
	return 0, 0
}

// TestFindAVMMThatChangesItsCommandLine: it is found and ended as ever, and what it says
// of itself is not passed on.
func TestFindAVMMThatChangesItsCommandLine(t *testing.T) {
	w := newFixture(t)
	w.blocks.attached[vm] = true
	c := w.startCall(vm, 5)
	c.VMM, c.Accel = rootapi.QEMU, "tcg"
	var p rootapi.Process
	w.must(c, &p, w.logs...)
	awaitName(t, p.PID, "qemu-system-x86")
	for _, change := range []struct {
		of   func([]byte) []byte
		want string
	}{
		{func(args []byte) []byte { return args }, "tcg"},
		{func(args []byte) []byte {
			return bytes.Replace(args, []byte("-accel\x00tcg,"), []byte("-accel\x00\x1b[A,"), 1)
		}, ""},
		{func(args []byte) []byte { return make([]byte, len(args)) }, ""},
	} {
		scribble(t, p.PID, change.of)
		for _, hint := range []rootapi.Process{p, {}} {
			var found rootapi.VMFindAnswer
			w.must(rootapi.VMFindCall{VM: of(vm), Hint: hint}, &found)
			if found.Process == nil || found.Process.PID != p.PID || found.Process.Accel != change.want {
				t.Errorf("%+v, want accelerator %q", found.Process, change.want)
			}
		}
	}
	w.kill(vm)
	if runs(p.PID) {
		t.Error("the VM runs on")
	}
}

func TestAccelOf(t *testing.T) {
	for want, args := range map[string][]string{
		"kvm": {"qemu", "-accel", "kvm"}, "tcg": {"qemu", "-accel", "hvf", "-accel", "tcg,thread=multi"}, "": {"qemu", "tcg", "-accel"},
	} {
		if got := accelOf(args); got != want {
			t.Errorf("%q: %q", args, got)
		}
	}
	if got := accelOf(nil); got != "" {
		t.Errorf("%q of none", got)
	}
}
