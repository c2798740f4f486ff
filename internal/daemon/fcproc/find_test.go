package fcproc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/host/proc"
)

// want checks that Find finds the process, and how.
func (w *fixture) want(q Query, pid int, via string) {
	w.Helper()
	h, err := w.Find(w.Context(), q)
	if err != nil {
		w.Error(err)
		return
	}
	defer h.Close()
	if h.PID() != pid || h.Via() != via {
		w.Errorf("found %d by its %s, want %d by its %s", h.PID(), h.Via(), pid, via)
	}
}

// refuses checks that Find finds nothing, for a reason that the error names.
func (w *fixture) refuses(q Query, reason string) {
	w.Helper()
	h, err := w.Find(w.Context(), q)
	if err == nil {
		h.Close()
	}
	if api.KindOf(err) != api.KindNotFound || !errors.Is(err, proc.ErrGone) || !strings.Contains(err.Error(), reason) {
		w.Errorf("%v, %v; want none: %s", h, err, reason)
	}
}

func TestFindByEveryWay(t *testing.T) {
	w := newFixture(t)
	v := w.start(vmm{args: []string{w.socket}})
	pid, q := v.Process.Pid, w.query()
	w.refuses(q, "by its pidfile")
	w.pidfile(strconv.Itoa(pid))
	w.want(q, pid, ViaPidfile)
	w.enter(os.Getpid(), HelperCgroup, "")
	w.inCgroup(HelperCgroup, os.Getpid(), pid)
	w.want(q, pid, ViaCgroup)
	w.inCgroup(Cgroup(vm), pid)
	w.inCgroup(HelperCgroup)
	w.want(q, pid, ViaCgroup)
	q.Hint = identity(t, pid)
	w.want(q, pid, ViaHint)
}

// TestFindDespiteLies: a hint that leads nowhere, or to somebody else, costs
// time and nothing else.
func TestFindDespiteLies(t *testing.T) {
	w := newFixture(t)
	v := w.start(vmm{})
	other := w.start(vmm{jail: elsewhere(t), args: []string{w.socket}})
	pid := v.Process.Pid
	w.enter(1, "/init.scope", "")
	w.inCgroup(Cgroup(vm), pid)
	w.pidfile("garbage")
	for name, change := range map[string]func(*proc.Identity){
		"start time": func(id *proc.Identity) { id.StartTime++ },
		"boot":       func(id *proc.Identity) { id.BootID = "another" },
		"pid":        func(id *proc.Identity) { id.PID = 1 << 30 },
		"negative":   func(id *proc.Identity) { id.PID = -1 },
		"init":       func(id *proc.Identity) { *id = identity(t, 1) },
		"another's":  func(id *proc.Identity) { *id = identity(t, other.Process.Pid) },
	} {
		q := w.query()
		q.Hint = identity(t, pid)
		change(&q.Hint)
		t.Log(name)
		w.want(q, pid, ViaCgroup)
	}
	w.pidfile(strconv.Itoa(other.Process.Pid)) // it names one that is really called firecracker
	w.want(w.query(), pid, ViaCgroup)
}

func TestFindRefusesWhatIsNotTheVMs(t *testing.T) {
	for name, c := range map[string]struct {
		vmm
		reason string
	}{
		"name":         {vmm{name: "qemu"}, `name: it is "qemu", not "firecracker"`},
		"another jail": {vmm{jail: "elsewhere"}, "root: it is not"},
		"another VM":   {vmm{cgroup: Cgroup("ba9876543210")}, "cgroup: it is"},
		"no unit":      {vmm{cgroup: "/"}, "cgroup: it is"},
		"a user's unit of that name": {
			vmm{cgroup: "/user.slice/user-1000.slice/user@1000.service/banger.slice/banger-vm-" + vm + ".service"}, "cgroup: it is",
		},
		"a longer name":  {vmm{cgroup: Cgroup(vm) + "x"}, "cgroup: it is"},
		"removed cgroup": {vmm{cgroup: Cgroup(vm) + " (deleted)"}, "cgroup: it is"},
		"foreign uid":    {vmm{uid: 65533}, "user: it is 65533/65533/65533/65533, not 65534"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.uid != 0 && os.Getuid() != 0 {
				t.Skip("only root can start another user's process")
			}
			w := newFixture(t)
			if c.jail != "" {
				c.jail = elsewhere(t)
			}
			c.args = []string{"--api-sock", w.socket}
			v := w.start(c.vmm)
			pid := strconv.Itoa(v.Process.Pid)
			w.pidfile(pid)
			w.inCgroup(Cgroup(vm), v.Process.Pid)
			q := w.query()
			q.Hint = identity(t, v.Process.Pid)
			w.refuses(q, "process "+pid+": "+c.reason)
		})
	}
}

func TestFindBelowTheCgroupsOfOurUnits(t *testing.T) {
	for _, cgroup := range []string{Cgroup(vm) + "/vmm", HelperCgroup, HelperCgroup + "/" + vm} {
		w := newFixture(t)
		v := w.start(vmm{cgroup: cgroup})
		w.pidfile(strconv.Itoa(v.Process.Pid))
		w.want(w.query(), v.Process.Pid, ViaPidfile)
	}
}

// TestFindCutsTheName: the kernel keeps 15 bytes of a process's name.
func TestFindCutsTheName(t *testing.T) {
	w := newFixture(t)
	v := w.start(vmm{name: "banger-" + vm})
	w.inCgroup(Cgroup(vm), v.Process.Pid)
	q := w.query()
	q.Name = "banger-" + vm
	w.want(q, v.Process.Pid, ViaCgroup)
	q.Name = "banger-01"
	w.refuses(q, "name: it is")
	q.AnyName = true
	w.want(q, v.Process.Pid, ViaCgroup)
}

// TestFindTheNewestOfMany: newer processes of somebody else that name the socket
// neither hide the VMM nor make it dearer to find.
func TestFindTheNewestOfMany(t *testing.T) {
	w := newFixture(t)
	v := w.start(vmm{args: []string{w.socket}})
	w.inCgroup(Cgroup(vm), v.Process.Pid)
	find := func() { w.want(w.query(), v.Process.Pid, ViaCgroup) }
	find()
	alone := allocated(find)
	for range 3 {
		w.start(vmm{name: "curl", cgroup: "/user.slice", args: []string{"--unix-socket", w.socket}})
	}
	for i := range 2000 {
		dir := filepath.Join(w.Proc, strconv.Itoa(1<<23+i))
		w.check(os.Mkdir(dir, 0o755))
		w.check(os.WriteFile(filepath.Join(dir, "cmdline"), []byte("curl\x00"+w.socket+"\x00"), 0o600))
	}
	if got := allocated(find); got > 2*alone+16<<10 {
		t.Errorf("allocated %d bytes among many, %d alone", got, alone)
	}
}

// allocated is how many bytes do allocates, in sum.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestFindEndsWithItsContext: what was not looked at by then was not told to be gone.
func TestFindEndsWithItsContext(t *testing.T) {
	w := newFixture(t)
	v := w.start(vmm{})
	w.inCgroup(Cgroup(vm), v.Process.Pid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if h, err := w.Find(ctx, w.query()); !errors.Is(err, context.Canceled) || api.KindOf(err) != api.KindInternal || errors.Is(err, proc.ErrGone) {
		t.Errorf("%v, %v", h, err)
	}
	if users, err := w.Users(ctx, 0, 1<<31); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", users, err)
	}
}

// TestFindWithoutAFirstThread: a process of which the first thread has ended runs on,
// and must not be taken for stopped, nor for one that cannot be told.
func TestFindWithoutAFirstThread(t *testing.T) {
	w := newFixture(t)
	v := w.start(vmm{args: []string{"first-thread-ends"}})
	pid := v.Process.Pid
	root := filepath.Join("/proc", strconv.Itoa(pid), "root")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(root + "/."); errors.Is(err, os.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("its first thread does not end")
		}
	}
	w.inCgroup(Cgroup(vm), pid)
	if os.Getuid() == 0 { // else its root directory is the host's
		w.want(w.query(), pid, ViaCgroup)
	}
	q := w.query()
	q.Hint = identity(t, pid)
	elsewhere, err := os.Open(elsewhere(t))
	w.check(err)
	defer elsewhere.Close()
	q.Root = elsewhere
	w.refuses(q, "root: it is not")
	if os.Getuid() != 0 {
		return
	}
	h, err := w.Find(t.Context(), w.query())
	w.check(err)
	defer h.Close()
	w.check(h.Kill(t.Context()))
	w.refuses(w.query(), "no such process")
}

// TestAnyOtherUserIDIsRefused: a process with one uid that is not the VM's has not
// dropped its privileges, or is about to take some.
func TestAnyOtherUserIDIsRefused(t *testing.T) {
	w := newFixture(t)
	v := w.start(vmm{})
	w.inCgroup(Cgroup(vm), v.Process.Pid)
	status := filepath.Join(w.Proc, strconv.Itoa(v.Process.Pid), "status")
	for i := range 4 {
		uids := slices.Repeat([]string{strconv.Itoa(vmUID())}, 4)
		uids[i] = "7"
		w.check(overwrite(status, "Uid:\t"+strings.Join(uids, "\t")+"\n"))
		w.refuses(w.query(), "user: it is "+strings.Join(uids, "/"))
	}
}

// TestSignalToAZombie: the kernel takes signals for a process that has ended and that
// its parent has not waited for yet (pidfd_send_signal(2)).
func TestSignalToAZombie(t *testing.T) {
	// The shell starts one, and becomes a program that waits for nobody.
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "sleep 100 </dev/null >/dev/null & echo $!; exec "+sleeper)
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		_ = cmd.Wait()
	}()
	var pid int
	if _, err := fmt.Fscanln(stdout, &pid); err != nil {
		t.Fatal(err)
	}
	comm := fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if name, err := os.ReadFile(comm); err == nil && string(name) == "sleeper\n" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the shell waits for it still")
		}
	}
	p, err := proc.Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	h := &Handle{process: p}
	defer h.Close()
	if err := errors.Join(h.Signal(0), h.Kill(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("it is not a zombie: %v", err)
	}
	if err := h.Signal(syscall.SIGTERM); !errors.Is(err, proc.ErrGone) {
		t.Error(err)
	}
}

// TestFindAfterReuse: the process ends between the look-up and the signal. As
// the pid is free then, it may be anybody's.
func TestFindAfterReuse(t *testing.T) {
	w := newFixture(t)
	v := w.start(vmm{})
	w.pidfile(strconv.Itoa(v.Process.Pid))
	h, err := w.Find(t.Context(), w.query())
	w.check(err)
	defer h.Close()
	w.check(v.Process.Kill())
	<-h.Done()
	if err := h.Signal(syscall.SIGTERM); !errors.Is(err, proc.ErrGone) {
		t.Errorf("signal: %v", err)
	}
	if err := h.Kill(t.Context()); err != nil {
		t.Errorf("kill: %v", err)
	}
	q := w.query()
	q.Hint = h.Identity()
	q.Hint.PID = os.Getpid() // as if the pid were this process's now
	w.refuses(q, "by its hint: pid "+strconv.Itoa(os.Getpid())+" belongs to another process")
}

// TestProveSeesTheEnd: what was read of a process that has ended since may have
// been read of another.
func TestProveSeesTheEnd(t *testing.T) {
	w := newFixture(t)
	v := w.start(vmm{})
	p, err := proc.Open(v.Process.Pid)
	w.check(err)
	defer p.Close()
	ends := check{"end", func(Host, int, Query) error {
		w.check(v.Process.Kill())
		<-p.Done()
		return nil
	}}
	if err := w.prove(p, w.query(), ends); !errors.Is(err, proc.ErrGone) {
		t.Error(err)
	}
}

func TestKill(t *testing.T) {
	w := newFixture(t)
	v := w.start(vmm{})
	w.inCgroup(Cgroup(vm), v.Process.Pid)
	h, err := w.Find(t.Context(), w.query())
	w.check(err)
	defer h.Close()
	w.check(h.Signal(0))
	w.check(h.Kill(t.Context()))
	select {
	case <-h.Done():
	default:
		t.Error("Kill returned before the process had ended")
	}
	w.refuses(w.query(), "no such process")
}

// TestFindSaysWhatItCannotTell: to take a VM for stopped that runs would start
// it twice.
func TestFindSaysWhatItCannotTell(t *testing.T) {
	for name, spoil := range map[string]func(w *fixture, pid int) error{
		"no /proc":   func(w *fixture, _ int) error { return os.RemoveAll(w.Proc) },
		"no cgroup":  func(w *fixture, pid int) error { return os.Remove(fmt.Sprintf("%s/%d/cgroup", w.Proc, pid)) },
		"bad status": func(w *fixture, pid int) error { return overwrite(fmt.Sprintf("%s/%d/status", w.Proc, pid), "x\n") },
		"bad uids": func(w *fixture, pid int) error {
			return overwrite(fmt.Sprintf("%s/%d/status", w.Proc, pid), "Uid: 1\n")
		},
		"no root": func(w *fixture, pid int) error {
			return errors.Join(os.Remove(fmt.Sprintf("%s/%d/root", w.Proc, pid)), os.Remove(fmt.Sprintf("%s/%d/task", w.Proc, pid)))
		},
		"no v2 cgroup": func(w *fixture, pid int) error {
			return overwrite(fmt.Sprintf("%s/%d/cgroup", w.Proc, pid), "1:cpu:/\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			v := w.start(vmm{})
			w.inCgroup(Cgroup(vm), v.Process.Pid)
			w.check(spoil(w, v.Process.Pid))
			if h, err := w.Find(t.Context(), w.query()); api.KindOf(err) != api.KindInternal || errors.Is(err, proc.ErrGone) {
				t.Errorf("%v, %v", h, err)
			}
		})
	}
}

func overwrite(path, text string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

func TestFindNeedsProof(t *testing.T) {
	w := newFixture(t)
	for name, change := range map[string]func(*Query){
		"id":   func(q *Query) { q.ID = "../../etc" },
		"name": func(q *Query) { q.Name = "" },
		"uid":  func(q *Query) { q.UID = 0 },
		"root": func(q *Query) { q.Root = nil },
	} {
		q := w.query()
		change(&q)
		if h, err := w.Find(w.Context(), q); api.KindOf(err) != api.KindInvalid {
			t.Errorf("without %s: %v, %v", name, h, err)
		}
	}
}

// TestFindAVMMThatEnds: a process has lost its root directory for a moment before it counts as ended.
// It counts as ended. Whether a process that stays without one is the VMM is not known.
func TestFindAVMMThatEnds(t *testing.T) {
	w := newFixture(t)
	v := w.start(vmm{})
	pid := v.Process.Pid
	w.inCgroup(Cgroup(vm), pid)
	dir := filepath.Join(w.Proc, strconv.Itoa(pid))
	for _, name := range []string{"root", "task"} {
		w.check(os.Remove(filepath.Join(dir, name)))
	}
	w.check(os.Mkdir(filepath.Join(dir, "task"), 0o755))
	if h, err := w.Find(t.Context(), w.query()); api.KindOf(err) != api.KindInternal {
		t.Errorf("%v, %v; want that nobody knows", h, err)
	}
	time.AfterFunc(exitTime/4, func() { _ = v.Process.Kill() })
	w.refuses(w.query(), "by its cgroup")
}
