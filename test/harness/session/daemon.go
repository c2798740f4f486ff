package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/daemonstart"
	"banger/internal/paths"
)

// patience bounds every wait for something that is about to happen.
const patience = 90 * time.Second

// pause is between two looks at what cannot tell of itself.
const pause = 10 * time.Millisecond

// Usage is what a daemon holds.
type Usage struct{ Goroutines, OpenFiles int }

func pathsOf(home string) paths.Paths {
	return paths.Paths{Data: filepath.Join(home, "data"), Cache: filepath.Join(home, "cache"), Config: home}
}

// status asks an installation's daemon how it is; it starts none.
func status(ctx context.Context, p paths.Paths) (api.DaemonStatus, error) {
	return daemonstart.Running(p).Daemon().Status(ctx)
}

// eventually calls check until it returns nil, or for as long as patience lasts.
func eventually(check func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pause)
	}
}

// atRest waits until an installation's daemon holds no more than an idle one.
func atRest(p paths.Paths, idle Usage) error {
	return eventually(func() error {
		s, err := status(context.Background(), p)
		if err != nil {
			return err
		}
		if s.Goroutines > idle.Goroutines || s.OpenFiles > idle.OpenFiles {
			return fmt.Errorf("the daemon holds %d goroutines and %d files; one that has done nothing holds %d and %d: %q",
				s.Goroutines, s.OpenFiles, idle.Goroutines, idle.OpenFiles, openFiles(s.PID))
		}
		return nil
	})
}

// openFiles are the targets of a process's descriptors, for a message.
func openFiles(pid int) (targets []string) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	all, _ := os.ReadDir(dir)
	for _, e := range all {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			target = err.Error()
		}
		targets = append(targets, e.Name()+" "+target)
	}
	return targets
}

// kill9 kills the script's daemon and waits until it is gone. It returns false
// where none runs.
func (w *fixture) kill9() (bool, error) {
	pid, err := w.daemon()
	if err != nil || pid == 0 {
		return false, err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return false, err
	}
	return true, ended(pid)
}

func ended(pid int) error {
	return eventually(func() error {
		if Alive(pid) {
			return fmt.Errorf("process %d does not end", pid)
		}
		return nil
	})
}

// daemon is the process id of the script's daemon, or 0.
func (w *fixture) daemon() (int, error) {
	if w.options.System {
		return unitPID("bangerd.service")
	}
	return lockHolder(w.home)
}

// lockHolder finds the daemon by its environment, for one that is not ready to
// answer has to be found too.
func lockHolder(home string) (int, error) {
	all, err := Processes(home)
	if err != nil {
		return 0, err
	}
	for _, p := range all {
		if filepath.Base(p.Args[0]) == "bangerd" && len(p.Args) == 1 {
			return p.PID, nil
		}
	}
	return 0, nil
}

// Alive reports whether a process runs: a dead one that nobody has waited for
// does not, unless threads of it are still on their way out.
func Alive(pid int) bool {
	if threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)); err == nil && len(threads) > 1 {
		return true
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return false
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return rest == "" || !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}
