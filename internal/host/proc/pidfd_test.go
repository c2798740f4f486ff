package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// pidfd returns a descriptor of the process, as another program would hand it on.
func pidfd(t *testing.T, p *Process) *os.File {
	t.Helper()
	f, err := p.File()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFromPidfd(t *testing.T) {
	p := spawn(t, "sleep 100")
	held, err := FromPidfd(pidfd(t, p), p.Identity())
	if err != nil || held.Identity() != p.Identity() || held.Ended() {
		t.Fatalf("%+v, %v", held, err)
	}
	held.Close()
	for name, change := range map[string]func(*Identity){
		"another pid":  func(id *Identity) { id.PID = os.Getpid() },
		"another boot": func(id *Identity) { id.BootID = "x" },
	} {
		id := p.Identity()
		change(&id)
		if got, err := FromPidfd(pidfd(t, p), id); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := FromPidfd(file, p.Identity()); err == nil || errors.Is(err, ErrGone) {
		t.Errorf("no pidfd: %v, %v", got, err)
	}
	first, err := Open(1)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if held, err := FromPidfd(pidfd(t, first), first.Identity()); err != nil {
		t.Errorf("the first process: %v", err)
	} else {
		held.Close()
	}
	ended := spawn(t, "exit 0")
	f := pidfd(t, ended)
	wait(t, ended)
	if got, err := FromPidfd(f, ended.Identity()); !errors.Is(err, ErrGone) {
		t.Errorf("ended: %v, %v", got, err)
	}
}

// hiddenEnv has a process hold the one that its value names.
const hiddenEnv = "BANGER_TEST_HIDDEN"

// TestFromPidfdOfAHiddenProcess: as the owner's daemon on a host whose /proc shows
// everybody only his own processes.
func TestFromPidfdOfAHiddenProcess(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a /proc of its own and become another user")
	}
	p := spawn(t, "sleep 100")
	id, err := json.Marshal(p.Identity())
	if err != nil {
		t.Fatal(err)
	}
	f := pidfd(t, p)
	defer f.Close()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = []string{hiddenEnv + "=" + string(id)}
	cmd.ExtraFiles = []*os.File{f}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, strings.TrimSpace(string(out)))
	}
}

// holdHidden hides other users' processes from itself, becomes a user, and holds
// the process that descriptor 3 is of.
func holdHidden(text string) error {
	const nobody = 65534
	var id Identity
	err := errors.Join(
		json.Unmarshal([]byte(text), &id),
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("proc", "/proc", "proc", 0, "hidepid=invisible"),
		syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody),
		// Who becomes another user may not look at itself until its next exec
		// (PR_SET_DUMPABLE(2const)).
		unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0),
	)
	if err != nil {
		return err
	}
	if _, err := Open(id.PID); !errors.Is(err, ErrGone) {
		return fmt.Errorf("it is not hidden: %w", err)
	}
	p, err := FromPidfd(os.NewFile(3, "pidfd"), id)
	if err != nil {
		return err
	}
	defer p.Close()
	if p.Identity() != id || p.Ended() {
		return fmt.Errorf("it holds %+v, want %+v", p.Identity(), id)
	}
	return nil
}
