package fake

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/buildinfo"
	"banger/internal/guest/agent"
	"banger/internal/guest/agent/sshd"
	"banger/internal/guest/agentproto"
	"banger/internal/paths"
)

// guestName is the first argument of a process that is a fake VMM.
const guestName = "banger-fake-guest"

// RootDir is the fake guest's file system, in a VM's directory.
const RootDir = "fake-root"

// The descriptors that the driver passes.
const (
	socketFD = 3
	readyFD  = 4
)

func guestArgs(path, id, dir, fault string) []string {
	return []string{path, guestName, "id=" + id, "dir=" + dir, "fault=" + fault}
}

func belongsTo(id, dir string) func(args []string) bool {
	return func(args []string) bool {
		return len(args) == 5 && args[1] == guestName && args[2] == "id="+id && args[3] == "dir="+dir
	}
}

// GuestMain returns immediately, unless this process was started as a fake VMM: then it runs
// as one and exits.
func GuestMain() {
	sshd.SFTPMain() // a guest's agent starts it as its own program
	if len(os.Args) != 5 || os.Args[1] != guestName {
		return
	}
	dir := strings.TrimPrefix(os.Args[3], "dir=")
	fault := strings.TrimPrefix(os.Args[4], "fault=")
	if err := runGuest(dir, fault); err != nil {
		fmt.Fprintln(os.Stderr, "fake VMM:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runGuest(dir, fault string) error {
	if fault == FaultRefuse {
		return fmt.Errorf("refused, as %s says", FaultFile)
	}
	// A VMM ignores a closed terminal. The signal is caught rather than ignored, because the
	// guest's programs would inherit that (execve(2)).
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	console, err := os.OpenFile(filepath.Join(dir, paths.VMConsole), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer console.Close()
	listener, err := inherited(socketFD, "agent.sock")
	if err != nil {
		return err
	}
	reportReady()
	fmt.Fprint(console, "[    0.000000] Linux version 0.0-fake\r\n")
	name, value, _ := strings.Cut(fault, "=")
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
	return serve(dir, listener, console, name)
}

func serve(dir string, listener net.Listener, console *os.File, fault string) error {
	root := filepath.Join(dir, RootDir)
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
		BootID:  rand.Text(),
		Root:    root,
		Console: console,
		Network: network,
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
