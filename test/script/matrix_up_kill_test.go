package script

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/daemonstart"
	"banger/internal/faultpoint"
)

// The programs that are killed while a command works on a workspace.
const (
	theCLI    = "banger"
	theDaemon = "bangerd"
	theGuest  = "the guest"
)

// killing is one case: a program is killed when the command, or its daemon, reaches a point.
type killing struct{ point, victim string }

// chosen are the cases of some points, and with -short every seventh of them: three programs are killed
// in turns, so that each is.
func chosen(points []string) (cases []killing) {
	step := 1
	if testing.Short() {
		step = 7
	}
	n := 0
	for _, point := range points {
		for _, victim := range []string{theCLI, theDaemon, theGuest} {
			if victim == theCLI && strings.HasPrefix(point, "POST ") {
				continue // the request would be carried out while the next command asks what there is
			}
			if n%step == 0 {
				cases = append(cases, killing{point, victim})
			}
			n++
		}
	}
	return cases
}

// setups is how often the setup has run at the end: it begins again if the command was killed before it
// recorded that the setup has run, or the guest before it has run all of it.
func (k killing) setups() int {
	again := map[string]bool{theCLI + " setup command 1": true, theCLI + " setup command 2": true, theGuest + " setup command 1": true}
	if again[k.victim+" "+k.point] {
		return 2
	}
	return 1
}

// observed returns the points that a command reaches, in itself and in the daemon.
func (u *upTest) observed(s story) (points []string) {
	u.t.Helper()
	s.prepare(u)
	u.arm(faultpoint.Record)
	u.banger(s.args...)
	data, err := os.ReadFile(filepath.Join(u.dir, "point"))
	u.ok(err)
	u.arm("")
	counts := s.from == ""
	for point := range strings.Lines(strings.TrimPrefix(string(data), faultpoint.Record)) {
		point = strings.TrimSpace(point)
		if counts = counts || point == s.from; counts && !slices.Contains(points, point) {
			points = append(points, point)
		}
	}
	if len(points) < 3 || s.args[0] == "up" && points[len(points)-1] != "up filled" {
		u.t.Fatalf("only %q were reached", points)
	}
	return points
}

// killed runs a command, and kills a program when a point is reached. It returns what the command
// has said, and how it ended.
func (u *upTest) killed(at killing, args []string) (said string, err error) {
	u.t.Helper()
	daemon, err := daemonstart.Running(u.paths).Daemon().Status(u.t.Context())
	u.ok(err)
	pipe := filepath.Join(u.dir, "pipe")
	u.ok(unix.Mkfifo(pipe, 0o600))
	defer os.Remove(pipe)
	u.arm(at.point + "\n" + pipe)
	cmd, _, stderr := u.command(args...)
	u.ok(cmd.Start())
	var pid int
	ended, reached := make(chan error, 1), make(chan *os.File, 1)
	go func() { ended <- cmd.Wait() }()
	go func() {
		f, _ := os.OpenFile(pipe, os.O_WRONLY, 0) // once somebody waits
		reached <- f
	}()
	select {
	case f := <-reached:
		pid = u.kill(map[string]int{theCLI: cmd.Process.Pid, theDaemon: daemon.PID}, at.victim)
		u.ok(f.Close())
	case err := <-ended:
		f, _ := os.OpenFile(pipe, os.O_RDONLY|unix.O_NONBLOCK, 0) // ends the wait
		f.Close()
		u.t.Fatalf("%q was not reached: %v: %s", at.point, err, stderr)
	}
	err = <-ended
	if at.victim == theGuest && pid > 0 {
		u.awaitEnd(pid)
	}
	return stderr.String(), err
}

// kill kills one of some programs, or the guest of the workspace's VM, if it runs, and returns whom.
func (u *upTest) kill(pids map[string]int, victim string) int {
	u.t.Helper()
	pid := pids[victim]
	if victim == theGuest {
		for _, vm := range u.own() {
			pid = max(pid, vm.PID)
		}
	}
	if pid > 0 {
		u.ok(syscall.Kill(pid, syscall.SIGKILL))
	}
	return pid
}

// awaitEnd waits until the daemon has noticed that a VMM has ended: a command before that takes the
// VM for a running one.
func (u *upTest) awaitEnd(pid int) {
	u.t.Helper()
	for end := time.Now().Add(20 * time.Second); slices.ContainsFunc(u.own(), func(vm api.VM) bool { return vm.PID == pid }); {
		if time.Now().After(end) {
			u.t.Fatalf("the daemon has not noticed the end of process %d", pid)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
