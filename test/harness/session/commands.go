package session

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"banger/test/harness"
)

// commands are those that scripts have beside testscript's own:
//
//	status N PROGRAM [ARGUMENT...]   run a program, which has to end with status N
//	start NAME PROGRAM [ARGUMENT...] run a program beside the script: NAME.in, NAME.out and NAME.err are its streams
//	signal NAME SIGNAL               send it a signal: INT, TERM …
//	finish NAME STATUS               wait for its end
//	json FILE PATH [VALUE]           compare, or print, a field: vms.0.name; -count for a length
//	setenv NAME                      set a variable to the last output of a command
//	setting LINE                     add a line to config.toml
//	kill9 PID                        kill a process, and wait until it is gone
//	kill9-daemon                     kill the daemon, and wait until it is gone
//	fault FAULT                      what goes wrong at the next starts of (fake) VMs; none for nothing
//	waitfor PROGRAM [ARGUMENT...]    run a program until it succeeds; not for ever
//	pty DIALOG PROGRAM [ARGUMENT...] run a program on a terminal (see pty.go)
//	mkkernel DIRECTORY [SALT]        make a fake kernel and its modules
//	mktar FILE KIND                  make an archive of a root file system (see archives.go)
//	mkimage FILE CONFIG LAYER...     make an archive of an image with a configuration (see images.go)
//	moments N STATES BEFORE COMMAND AFTER  kill the daemon at N moments of a command (see moments.go)
//	registry VERB NAME [ARGUMENT...] have a registry of images (see registry.go)
//	echoserver NAME [PATH]           serve connections that get back what they send (see sockets.go)
//	talk PORT|PATH FILE              send a file to such a server, and print what comes back
//	idle                             the daemon holds no more than one that has done nothing
func commands() map[string]Command {
	return map[string]Command{
		"status": statusCommand, "json": jsonCommand, "setenv": setenvCommand,
		"kill9-daemon": kill9DaemonCommand, "kill9": kill9Command, "setting": settingCommand,
		"fault": faultCommand, "waitfor": waitforCommand, "mkkernel": mkkernelCommand, "idle": idleCommand,
		"registry": registryCommand,
		"mktar":    mktarCommand, "mkimage": mkimageCommand, "pty": ptyCommand,
		"echoserver": echoCommand, "talk": talkCommand,
		"moments": momentsCommand, "start": startCommand, "signal": signalCommand, "finish": finishCommand,
	}
}

func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

// statusCommand runs a program that has to end with a certain status.
func statusCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "status N PROGRAM [ARGUMENT...]")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got, err := run(ts, args[1:])
	ts.Check(err)
	if got != want {
		ts.Fatalf("status %d, want %d", got, want)
	}
}

// run runs a program as exec does and returns its status: 128 and more for a
// signal, as a shell has it.
func run(ts *testscript.TestScript, args []string) (int, error) {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, err
	}
	return waitStatus(exit.ProcessState), nil
}

func setenvCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "setenv NAME")
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

func kill9Command(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "kill9 PID")
	pid, err := strconv.Atoi(args[0])
	ts.Check(err)
	if worldOf(ts).options.System { // a VMM has a user id of its own
		ts.Check(askRoot(request{Kill: pid}))
	} else {
		ts.Check(syscall.Kill(pid, syscall.SIGKILL))
	}
	ts.Check(ended(pid))
}

func settingCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "setting LINE")
	w := worldOf(ts)
	text, err := os.ReadFile(w.paths.ConfigFile())
	ts.Check(err)
	text = append(text, args[0]+"\n"...)
	if !w.options.System {
		ts.Check(os.WriteFile(w.paths.ConfigFile(), text, 0o600))
		return
	}
	w.changed = true
	ts.Check(configure(string(text)))
}

func kill9DaemonCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "kill9-daemon")
	killed, err := worldOf(ts).kill9()
	ts.Check(err)
	if !killed {
		ts.Fatalf("no daemon runs")
	}
}

func faultCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "fault FAULT|none")
	ts.Check(os.WriteFile(filepath.Join(worldOf(ts).home, "fault"), []byte(args[0]), 0o600))
}

func waitforCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) >= 1, "[!] waitfor PROGRAM [ARGUMENT...]")
	err := eventually(func() error {
		err := ts.Exec(args[0], args[1:]...)
		if neg && err == nil {
			return errors.New("it still succeeds")
		}
		if neg {
			return nil
		}
		return err
	})
	ts.Check(err)
}

func mkkernelCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 1, "mkkernel DIRECTORY [SALT]")
	ts.Check(harness.FakeKernel(ts.MkAbs(args[0]), strings.Join(args[1:], " ")))
}

func idleCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "idle")
	w := worldOf(ts)
	ts.Check(atRest(w.paths, w.options.Idle))
}

// condition implements the conditions of scripts.
func condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Geteuid() == 0, nil
	case "long": // what takes minutes is to be run, too
		return os.Getenv("BANGER_TEST_LONG") != "", nil
	case "userns": // namespaces can be made
		return exec.Command("unshare", "-Urm", "true").Run() == nil, nil
	}
	return false, errors.New("unknown condition")
}
