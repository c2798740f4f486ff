package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if id := os.Getenv(hiddenEnv); id != "" {
		if err := holdHidden(id); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if how := os.Getenv(hostileEnv); how != "" {
		if err := hostiles[how](); err != nil {
			fmt.Println(err)
		}
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// spawn starts a shell script that the test ends.
func spawn(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Spawn(Command{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Files: []*os.File{nil, nil, nil}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(context.Background(), 10*time.Second); err != nil {
			t.Error(err)
		}
		p.Close()
	})
	return p
}

func wait(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(20 * time.Second):
		t.Fatalf("process %d does not end", p.PID())
	}
}

func TestExitCodes(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 128 + 15} {
		p := spawn(t, script)
		wait(t, p)
		if p.ExitCode() != want {
			t.Errorf("%s: %d, want %d", script, p.ExitCode(), want)
		}
		if _, err := Open(p.PID()); !errors.Is(err, ErrGone) {
			t.Errorf("%s: a zombie is left: %v", script, err)
		}
		if err := p.Signal(unix.SIGKILL); !errors.Is(err, ErrGone) {
			t.Errorf("%s: signal to an ended process: %v", script, err)
		}
	}
}

func TestOpenIdentity(t *testing.T) {
	p := spawn(t, "sleep 100")
	again, err := OpenIdentity(p.Identity())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	again.Close() // idempotent
	for name, change := range map[string]func(*Identity){
		"start time": func(id *Identity) { id.StartTime++ },
		"boot":       func(id *Identity) { id.BootID = "x" },
		"no pid":     func(id *Identity) { id.PID = 0 },
		"group":      func(id *Identity) { id.PID = -id.PID },
		"absurd pid": func(id *Identity) { id.PID = 1 << 30 },
	} {
		id := p.Identity()
		change(&id)
		if got, err := OpenIdentity(id); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestSignalAfterReuse is the race that pidfds are for: between the look-up
// and the signal the process ends and its pid becomes another's.
func TestSignalAfterReuse(t *testing.T) {
	p := spawn(t, "exit 0")
	wait(t, p)
	id := p.Identity()
	id.PID = os.Getpid() // as if the pid were ours now
	if got, err := OpenIdentity(id); !errors.Is(err, ErrGone) {
		t.Fatalf("the new owner of the pid was taken for the old: %v, %v", got, err)
	}
	if err := p.Signal(unix.SIGKILL); !errors.Is(err, ErrGone) {
		t.Errorf("signal: %v", err)
	}
	if args, err := p.Cmdline(); !errors.Is(err, ErrGone) {
		t.Errorf("command line %q, %v", args, err)
	}
}

func TestSpawnIsDetached(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	const script = `echo ready; kill -STOP $$`
	p, err := Spawn(Command{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"A=b"}, Files: []*os.File{nil, in, nil}})
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	defer p.Kill(context.Background(), 10*time.Second)
	if _, err := out.Read(make([]byte, 10)); err != nil { // it has loaded its libraries
		t.Fatal(err)
	}
	dir := "/proc/" + strconv.Itoa(p.PID())
	if sid, err := unix.Getsid(p.PID()); err != nil || sid != p.PID() {
		t.Errorf("session %d of process %d, %v", sid, p.PID(), err)
	}
	if cwd, err := os.Readlink(dir + "/cwd"); err != nil || cwd != "/" {
		t.Errorf("working directory %q, %v", cwd, err)
	}
	if entries, err := os.ReadDir(dir + "/fd"); err != nil || len(entries) != 3 {
		t.Errorf("descriptors %v, %v", entries, err)
	}
	if env, err := os.ReadFile(dir + "/environ"); err != nil || string(env) != "A=b\x00" {
		t.Errorf("environment %q, %v", env, err)
	}
	pids := pidsOf(t, func(args []string) bool { return len(args) == 3 && args[2] == script })
	if !slices.Contains(pids, p.PID()) {
		t.Errorf("Find found %v, not %d", pids, p.PID())
	}
}

func pidsOf(t *testing.T, match func([]string) bool) []int {
	t.Helper()
	found, err := Find(t.Context(), match)
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, p := range found {
		pids = append(pids, p.PID())
		p.Close()
	}
	return pids
}

func TestDoneOfForeignProcess(t *testing.T) {
	// A child that os/exec reaps is as good as another's.
	cmd := exec.CommandContext(t.Context(), "sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	go cmd.Wait()
	if err := p.Kill(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	wait(t, p)
}

// TestExitOfAnothersChild: only the parent is told how a process ended (waitid(2)).
func TestExitOfAnothersChild(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "sleep 100 </dev/null >/dev/null & echo $!; read x")
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
	p, err := Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Kill(t.Context(), 10*time.Second); err != nil || p.ExitCode() != -1 {
		t.Errorf("exit code %d, %v", p.ExitCode(), err)
	}
}

// TestKillOfWhatWasLetGo: who still has a process that ended, and that another let go of
// meanwhile, is told that it has ended.
func TestKillOfWhatWasLetGo(t *testing.T) {
	p := spawn(t, "exit 0")
	wait(t, p)
	p.Close()
	if err := p.Signal(unix.SIGTERM); !errors.Is(err, ErrGone) {
		t.Errorf("a signal: %v", err)
	}
	if err := p.Kill(t.Context(), time.Second); err != nil {
		t.Errorf("an end: %v", err)
	}
}

func TestCloseDoesNotEnd(t *testing.T) {
	p := spawn(t, "sleep 100")
	again, err := Open(p.PID())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	select {
	case <-p.Done():
		t.Error("it ended")
	case <-again.Done():
		t.Error("Close closed Done")
	default:
	}
}

func TestEnded(t *testing.T) {
	p := spawn(t, "sleep 100")
	if p.Ended() {
		t.Error("it runs, and is said to have ended")
	}
	if err := p.Kill(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if !p.Ended() {
		t.Error("it has ended, and is said to run")
	}
}

// TestOpenThread: a pid is that of a process, never that of one of its threads.
func TestOpenThread(t *testing.T) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		id, _ := strconv.Atoi(thread.Name())
		if id == os.Getpid() {
			continue
		}
		if p, err := Open(id); !errors.Is(err, ErrGone) {
			t.Errorf("thread %d: %v, %v", id, p, err)
		}
	}
}

// TestFindPassesOverWhatEndsOrChanges: between the listing and the look at it a process
// may end, or its pid become another's; those after it are found all the same.
func TestFindPassesOverWhatEndsOrChanges(t *testing.T) {
	const script = "kill -STOP $$ # ends or changes"
	var all []*Process
	for range 4 {
		all = append(all, spawn(t, script))
	}
	slices.SortFunc(all, func(a, b *Process) int { return a.PID() - b.PID() })
	ends, changes := all[1], all[2]
	looks := 0
	found, err := Find(t.Context(), func(args []string) bool {
		if len(args) != 3 || args[2] != script {
			return false
		}
		if looks++; looks == len(all) {
			if err := ends.Kill(t.Context(), 10*time.Second); err != nil {
				t.Error(err)
			}
		}
		return looks != len(all)+2 // the second look at the second of those that are left
	})
	var pids []int
	for _, p := range found {
		pids = append(pids, p.PID())
		p.Close()
	}
	if err != nil || !slices.Equal(pids, []int{all[0].PID(), all[3].PID()}) || looks != 7 {
		t.Errorf("found %v after %d looks, %v; want all of %d, %d, %d, %d but %d and %d", pids, looks, err,
			all[0].PID(), all[1].PID(), all[2].PID(), all[3].PID(), ends.PID(), changes.PID())
	}
}
