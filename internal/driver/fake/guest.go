package fake

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/buildinfo"
	"banger/internal/guest/agent"
	"banger/internal/guest/agent/freezer"
	"banger/internal/guest/agent/sshd"
	"banger/internal/guest/agentproto"
	"banger/internal/paths"
)

// guestName is the first argument of a process that is a fake VMM.
const guestName = "banger-fake-guest"

// frozenFile says, in a VM's directory, that the guest is frozen.
const frozenFile = "fake-frozen"

// RootDir is the fake guest's file system, in a VM's directory.
const RootDir = "fake-root"

// The descriptors that the driver passes.
const (
	socketFD = 3
	readyFD  = 4
)

// guestArgCount is how many arguments a fake VMM has, with the program's name.
const guestArgCount = 8

// guest is what a fake VMM is told.
type guest struct {
	id, dir, fault string
	bootID         string // the guest's: all that its memory holds
	size           string // of the machine, as sizeOf writes it
	restored       bool   // the guest stands still at first
}

func (g guest) args(path string) []string {
	return []string{
		path, guestName, "id=" + g.id, "dir=" + g.dir, "fault=" + g.fault,
		"boot=" + g.bootID, "size=" + g.size, "restored=" + strconv.FormatBool(g.restored),
	}
}

// parseGuest reads a command line of guest.args.
func parseGuest(args []string) (g guest, ok bool) {
	if len(args) != guestArgCount || args[1] != guestName {
		return guest{}, false
	}
	value := func(i int) string {
		_, v, _ := strings.Cut(args[i], "=")
		return v
	}
	return guest{value(2), value(3), value(4), value(5), value(6), value(7) == "true"}, true
}

func belongsTo(id, dir string) func(args []string) bool {
	return func(args []string) bool {
		return len(args) == guestArgCount && args[1] == guestName && args[2] == "id="+id && args[3] == "dir="+dir
	}
}

// GuestMain returns immediately, unless this process was started as a fake VMM: then it runs
// as one and exits.
func GuestMain() {
	sshd.SFTPMain() // a guest's agent starts it as its own program
	g, ok := parseGuest(os.Args)
	if !ok {
		return
	}
	if err := runGuest(g); err != nil {
		fmt.Fprintln(os.Stderr, "fake VMM:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runGuest(g guest) error {
	if g.fault == FaultRefuse {
		return fmt.Errorf("refused, as %s says", FaultFile)
	}
	// A VMM ignores a closed terminal. The signal is caught rather than ignored, because the
	// guest's programs would inherit that (execve(2)).
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	console, err := os.OpenFile(filepath.Join(g.dir, paths.VMConsole), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer console.Close()
	listener, err := inherited(socketFD, "agent.sock")
	if err != nil {
		return err
	}
	reportReady()
	if g.restored {
		if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil { // until Resume
			return err
		}
		return serve(g, listener, console, "")
	}
	if err := os.Remove(filepath.Join(g.dir, frozenFile)); err != nil && !os.IsNotExist(err) {
		return err
	}
	fmt.Fprint(console, "[    0.000000] Linux version 0.0-fake\r\n")
	name, value, _ := strings.Cut(g.fault, "=")
	switch name {
	case FaultExit:
		fmt.Fprint(console, "[    0.100000] Kernel panic - not syncing: the fault says so\r\n")
		return fmt.Errorf("the guest panicked, as %s says", FaultFile)
	case FaultMute:
		fmt.Fprint(console, "[    0.100000] nothing more will be heard\r\n")
		select {}
	case FaultSlow:
		delay, err := time.ParseDuration(value)
		if err != nil {
			return err
		}
		time.Sleep(delay)
	}
	fmt.Fprint(console, "[    0.100000] banger-agent: root /dev/vda mounted (ext4)\r\n")
	return serve(g, listener, console, name)
}

func serve(g guest, listener net.Listener, console *os.File, fault string) error {
	root := filepath.Join(g.dir, RootDir)
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	grow := func(context.Context, int64) error { return nil }
	if fault == FaultOld {
		grow = nil
	}
	err := agent.Serve(ctx, agent.Options{
		Grow:    grow,
		Version: buildinfo.Get().Version,
		BootID:  g.bootID,
		Root:    root,
		Console: console,
		Network: network,
		Freezer: freezer.Fake(filepath.Join(g.dir, frozenFile)),
		Incarnate: func(agentproto.Hello) ([]agentproto.Step, error) {
			return []agentproto.Step{{Name: agentproto.StepRandom, State: agentproto.StepDone}}, nil
		},
		Shutdown: func(agentproto.Request) {
			if fault != FaultDeaf {
				stop()
			}
		},
	}, agent.FromListener(listener))
	if ctx.Err() != nil {
		fmt.Fprint(console, "[    9.000000] reboot: Restarting system\r\n")
	}
	return err
}

func inherited(fd uintptr, name string) (net.Listener, error) {
	f := os.NewFile(fd, name)
	defer f.Close()
	return net.FileListener(f)
}

// reportReady reports to the daemon that the machine runs. The daemon may have been killed
// since, which a VMM ignores.
func reportReady() {
	f := os.NewFile(readyFD, "ready")
	_, _ = f.Write([]byte{1})
	f.Close()
}

// network is that of every fake guest.
func network() *api.GuestNetwork {
	return &api.GuestNetwork{Device: "eth0", Up: true, RxBytes: 4096, RxPackets: 12, TxBytes: 2048, TxPackets: 8}
}
