package freezer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"banger/api"
)

// tree is a directory that stands for the cgroups of a guest, and one that stands for proc.
type tree struct {
	t         *testing.T
	dir, proc string
}

func newTree(t *testing.T) tree {
	tr := tree{t, t.TempDir(), t.TempDir()}
	tr.group(".", 1)
	tr.group(Work)
	return tr
}

func (tr tree) write(name, text string) {
	tr.t.Helper()
	if err := os.WriteFile(filepath.Join(tr.dir, name), []byte(text), 0o644); err != nil {
		tr.t.Fatal(err)
	}
}

func (tr tree) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(tr.dir, name))
	return strings.TrimSpace(string(text))
}

// group makes a cgroup that freezes as soon as it is asked, since it says so always.
func (tr tree) group(name string, pids ...int) {
	tr.t.Helper()
	if err := os.MkdirAll(filepath.Join(tr.dir, name), 0o755); err != nil {
		tr.t.Fatal(err)
	}
	var procs strings.Builder
	for _, pid := range pids {
		procs.WriteString(strconv.Itoa(pid) + "\n")
		dir := filepath.Join(tr.proc, strconv.Itoa(pid))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			tr.t.Fatal(err)
		}
		_ = os.Symlink("/bin/program", filepath.Join(dir, "exe"))
		if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(strconv.Itoa(pid)+" (a) b) D 1 1"), 0o644); err != nil {
			tr.t.Fatal(err)
		}
	}
	tr.write(name+"/"+procsFile, procs.String())
	tr.write(name+"/"+eventsFile, "populated 1\nfrozen 1\n")
	tr.write(name+"/"+freezeFile, "0\n")
}

func (tr tree) options() Options {
	return Options{Dir: tr.dir, Proc: tr.proc, Keep: []int{1, 7}, Limit: 200 * time.Millisecond, Tick: time.Hour,
		Record: filepath.Join(tr.proc, "record"), Say: func(f string, a ...any) { tr.t.Logf(f, a...) }}
}

// frozen returns which groups are to be frozen.
func (tr tree) frozen() string {
	var names []string
	err := filepath.WalkDir(tr.dir, func(path string, _ os.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(path, "/"+freezeFile); ok && err == nil {
			if name, _ = filepath.Rel(tr.dir, name); tr.read(name+"/"+freezeFile) == "1" {
				names = append(names, name)
			}
		}
		return err
	})
	if err != nil {
		tr.t.Fatal(err)
	}
	return strings.Join(names, " ")
}

// TestWhatIsFrozen: with systemd, the highest groups that have neither it nor the agent.
func TestWhatIsFrozen(t *testing.T) {
	tr := newTree(t)
	tr.group(".")
	tr.group("init.scope", 1)
	tr.group("banger-agent", 7)
	tr.group(Work, 20, 21)
	tr.group("system.slice")
	tr.group("system.slice/ssh.service", 30)
	tr.group("system.slice/docker-1.scope", 31)
	tr.group("user.slice")
	tr.group("mixed")
	tr.group("mixed/agents", 7)
	tr.group("mixed/others", 40)
	tr.write("system.slice/docker-1.scope/"+freezeFile, "1\n") // `docker pause`
	f := Open(tr.options())
	got, err := f.Freeze(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if groups := strings.Join(got.Groups, " "); groups != "banger-work mixed/others system.slice" || got.Processes != 5 || got.Outside != nil {
		t.Errorf("%q, %+v", groups, got)
	}
	if all := tr.frozen(); all != "banger-work mixed/others system.slice system.slice/docker-1.scope user.slice" {
		t.Errorf("%q", all)
	}
	if _, err := f.Thaw("a"); err != nil {
		t.Fatal(err)
	}
	if all := tr.frozen(); all != "system.slice/docker-1.scope" {
		t.Errorf("after the thaw %q is frozen", all)
	}
}

// TestFrozenByTheGuest: what somebody in the guest has frozen stays so.
func TestFrozenByTheGuest(t *testing.T) {
	tr := newTree(t)
	tr.group("docker", 30)
	tr.write("docker/"+freezeFile, "1\n")
	f := Open(tr.options())
	if _, err := f.Freeze(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Thaw("a"); err != nil {
		t.Fatal(err)
	}
	if all := tr.frozen(); all != "docker" {
		t.Errorf("%q is frozen", all)
	}
}

// TestAttempts: who may thaw what, and how often.
func TestAttempts(t *testing.T) {
	f := Open(newTree(t).options())
	freeze := func(attempt string, want api.Kind) {
		t.Helper()
		if _, err := f.Freeze(t.Context(), attempt); api.KindOf(err) != want {
			t.Errorf("freeze for %q: %v", attempt, err)
		}
	}
	thaw := func(attempt string, want api.Kind, lost bool) {
		t.Helper()
		if got, err := f.Thaw(attempt); api.KindOf(err) != want || got.Lost != lost {
			t.Errorf("thaw for %q: %+v, %v", attempt, got, err)
		}
	}
	freeze("", api.KindInvalid)
	freeze(strings.Repeat("x", 65), api.KindInvalid)
	thaw("a", "", true)
	freeze("a", "")
	freeze("a", "")
	freeze("b", api.KindConflict)
	thaw("b", api.KindConflict, false)
	if !f.Frozen() {
		t.Error("it is not frozen")
	}
	thaw("a", "", false)
	thaw("a", "", false)
	thaw("b", "", true)
	freeze("a", api.KindConflict)
	freeze("b", "")
	if ended, err := f.End(nil); !ended || err != nil || f.Frozen() {
		t.Error(ended, err)
	}
}

// TestDoesNotStop: then nothing is frozen, and the error names the culprit.
func TestDoesNotStop(t *testing.T) {
	tr := newTree(t)
	tr.group("system.slice", 30)
	tr.group(Work, 20)
	tr.write(Work+"/"+eventsFile, "populated 1\nfrozen 0\n")
	f := Open(tr.options())
	_, err := f.Freeze(t.Context(), "a")
	if want := "cannot freeze the guest: banger-work did not stop within 200ms: waiting in the kernel: a) b (process 20)"; err == nil || err.Error() != want || api.KindOf(err) != api.KindConflict {
		t.Errorf("%v", err)
	}
	if all := tr.frozen(); all != "" || f.Frozen() {
		t.Errorf("%q is frozen", all)
	}
	tr.write(Work+"/"+eventsFile, "populated 1\nfrozen 1\n")
	if _, err := f.Freeze(t.Context(), "b"); err != nil {
		t.Error(err)
	}
}

// TestEndsOnItsOwn: nobody thaws, and the guest continues after its seconds.
func TestEndsOnItsOwn(t *testing.T) {
	tr := newTree(t)
	o := tr.options()
	o.Tick = time.Millisecond
	f := Open(o)
	if _, err := f.Freeze(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := f.gate.enter(t.Context()); err != nil { // returns when it ends
		t.Fatal(err)
	}
	f.gate.leave()
	if all := tr.frozen(); all != "" {
		t.Errorf("%q is frozen", all)
	}
	if got, err := f.Thaw("a"); err != nil || !got.Lost {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestKept: a guest that must not continue does not, whatever time passes.
func TestKept(t *testing.T) {
	f := Open(newTree(t).options())
	if _, err := f.Freeze(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	stop := f.stop
	if !f.Keep(errors.New("no randomness")) {
		t.Fatal("it was not frozen")
	}
	f.count("a", time.Microsecond, stop) // returns after all its ticks
	if _, err := f.Thaw("a"); api.KindOf(err) != api.KindConflict || !f.Frozen() {
		t.Errorf("%v", err)
	}
	if ended, err := f.End(nil); !ended || err != nil || f.Frozen() {
		t.Error(ended, err)
	}
}

// TestStartedAgain: an agent that was killed while the guest was frozen thaws it.
func TestStartedAgain(t *testing.T) {
	tr := newTree(t)
	tr.group("system.slice", 30)
	if _, err := Open(tr.options()).Freeze(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if tr.frozen() == "" {
		t.Fatal("nothing is frozen")
	}
	f := Open(tr.options())
	if all := tr.frozen(); all != "" {
		t.Errorf("%q is frozen", all)
	}
	if got, err := f.Thaw("a"); err != nil || !got.Lost {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := os.Stat(tr.options().Record); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestWithoutCgroups: programs start, and a freeze is refused with the reason.
func TestWithoutCgroups(t *testing.T) {
	empty := t.TempDir()
	old := newTree(t)
	if err := os.Remove(filepath.Join(old.dir, Work, freezeFile)); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"missing": empty + "/none", "something else": empty, "an old kernel": old.dir} {
		t.Run(name, func(t *testing.T) {
			f := Open(Options{Dir: dir, Proc: empty})
			var sys syscall.SysProcAttr
			started := false
			if err := f.Spawn(t.Context(), &sys, func() error { started = true; return nil }); err != nil || !started || sys.UseCgroupFD {
				t.Error(err, started, sys.UseCgroupFD)
			}
			if _, err := f.Freeze(t.Context(), "a"); api.KindOf(err) != api.KindUnsupported {
				t.Error(err)
			}
		})
	}
}

// TestSpawnWaits: no program is started in a frozen guest; those that wait are started after it, or
// refused.
func TestSpawnWaits(t *testing.T) {
	f := Open(newTree(t).options())
	started := make(chan error)
	spawn := func() {
		started <- f.Spawn(t.Context(), &syscall.SysProcAttr{}, func() error { return nil })
	}
	for attempt, refusal := range map[string]error{"a": nil, "b": errors.New("another timeline")} {
		if _, err := f.Freeze(t.Context(), attempt); err != nil {
			t.Fatal(err)
		}
		go spawn()
		select {
		case <-started:
			t.Error("it did not wait")
		case <-time.After(20 * time.Millisecond):
		}
		if _, err := f.End(refusal); err != nil {
			t.Fatal(err)
		}
		if err := <-started; err != refusal {
			t.Errorf("%v", err)
		}
	}
}

// TestWaitsForSpawn: a freeze waits for a program that is being started, for a while.
func TestWaitsForSpawn(t *testing.T) {
	f := Open(newTree(t).options())
	starting, release := make(chan struct{}), make(chan struct{})
	spawned := make(chan error)
	go func() {
		spawned <- f.Spawn(t.Context(), &syscall.SysProcAttr{}, func() error {
			close(starting)
			<-release
			return nil
		})
	}()
	<-starting
	if _, err := f.Freeze(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "still being started") || f.Frozen() {
		t.Error(err)
	}
	go func() {
		for !f.Frozen() {
			time.Sleep(time.Millisecond)
		}
		close(release)
	}()
	f.o.Limit = time.Minute
	if _, err := f.Freeze(t.Context(), "b"); err != nil {
		t.Error(err)
	}
	if err := <-spawned; err != nil {
		t.Error(err)
	}
}

// TestRemovedGroup: root in the guest removes the group; programs are started nevertheless.
func TestRemovedGroup(t *testing.T) {
	tr := newTree(t)
	f := Open(tr.options())
	if err := os.RemoveAll(filepath.Join(tr.dir, Work)); err != nil {
		t.Fatal(err)
	}
	tries := 0
	var sys syscall.SysProcAttr
	err := f.Spawn(t.Context(), &sys, func() error {
		if tries++; tries < 3 {
			return syscall.ENODEV
		}
		return nil
	})
	if err != nil || tries != 3 || sys.UseCgroupFD {
		t.Error(err, tries, sys.UseCgroupFD)
	}
	if _, err := os.Stat(filepath.Join(tr.dir, Work)); err != nil {
		t.Error("the group was not made again:", err)
	}
}

// TestStartsOthers: a guest in which something new appears again and again is not frozen.
func TestStartsOthers(t *testing.T) {
	tr := newTree(t)
	f := Open(tr.options())
	// Each time that the root is read it has another process, which cannot be moved.
	procs := filepath.Join(tr.dir, procsFile)
	if err := errors.Join(os.Remove(procs), syscall.Mkfifo(procs, 0o600)); err != nil {
		t.Fatal(err)
	}
	stop, made := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(made)
		for i := 100; ; {
			select {
			case <-stop:
				return
			default:
			}
			pipe, err := os.OpenFile(procs, os.O_WRONLY|syscall.O_NONBLOCK, 0)
			if err != nil { // nobody reads
				time.Sleep(time.Millisecond)
				continue
			}
			i++
			_ = os.MkdirAll(filepath.Join(tr.proc, strconv.Itoa(i)), 0o755)
			_ = os.Symlink("/bin/program", filepath.Join(tr.proc, strconv.Itoa(i), "exe"))
			fmt.Fprintf(pipe, "1\n%d\n", i)
			pipe.Close()
		}
	}()
	_, err := f.Freeze(t.Context(), "a")
	close(stop)
	<-made
	if err == nil || !strings.Contains(err.Error(), "processes still start others: ") || f.Frozen() {
		t.Error(err)
	}
}
