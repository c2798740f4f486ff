package session

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// background is a program that start has started.
type background struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// startCommand starts a program whose output goes to NAME.out and NAME.err, and
// whose input is NAME.in if that exists.
func startCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "start NAME PROGRAM [ARGUMENT...]")
	w := worldOf(ts)
	if w.running[args[0]] != nil {
		ts.Fatalf("%s is there already", args[0])
	}
	cmd := command(ts, args[1], args[2:])
	out, err := os.Create(ts.MkAbs(args[0] + ".out"))
	ts.Check(err)
	defer out.Close()
	errs, err := os.Create(ts.MkAbs(args[0] + ".err"))
	ts.Check(err)
	defer errs.Close()
	cmd.Stdout, cmd.Stderr = out, errs
	if in, err := os.Open(ts.MkAbs(args[0] + ".in")); err == nil {
		defer in.Close()
		cmd.Stdin = in
	}
	ts.Check(cmd.Start())
	b := &background{cmd: cmd, done: make(chan struct{})}
	w.running[args[0]] = b
	go func() {
		_ = cmd.Wait() // finish looks at its status
		close(b.done)
	}()
}

// signalCommand sends a signal to what start has started.
func signalCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "signal NAME SIGNAL")
	ts.Check(find(ts, args[0]).cmd.Process.Signal(unix.SignalNum("SIG" + args[1])))
}

// finishCommand waits for what start has started, which has to end with a
// certain status. It leaves its output in stdout and stderr.
func finishCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "finish NAME STATUS")
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := find(ts, args[0])
	select {
	case <-b.done:
	case <-time.After(2 * patience):
		ts.Fatalf("%s does not end", args[0])
	}
	delete(worldOf(ts).running, args[0])
	fmt.Fprint(ts.Stdout(), ts.ReadFile(args[0]+".out"))
	fmt.Fprint(ts.Stderr(), ts.ReadFile(args[0]+".err"))
	if got := waitStatus(b.cmd.ProcessState); got != want {
		ts.Fatalf("status %d, want %d", got, want)
	}
}

func find(ts *testscript.TestScript, name string) *background {
	b := worldOf(ts).running[name]
	if b == nil {
		ts.Fatalf("nothing named %q was started", name)
	}
	return b
}

// endBackground kills what a script has left running.
func (w *fixture) endBackground() {
	for name, b := range w.running {
		if !w.t.Failed() {
			w.t.Errorf("still running at the script's end: %s, %s", name, filepath.Base(b.cmd.Path))
		}
		_ = b.cmd.Process.Signal(syscall.SIGKILL) // it may just have ended
		<-b.done
	}
}
