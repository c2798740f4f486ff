// Package bootup boots the guest before the agent serves: as PID 1 of the initramfs it loads
// the kernel modules in it, mounts the root disk, switches to it and sets up the network. It
// needs nothing from the image.
package bootup

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/guest/agent"
	"banger/internal/guest/agent/freezer"
	"banger/internal/guest/agent/transport"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/budget"
)

// deviceWait is how long a device may take to appear once its driver is
// loaded. Emulated guests on a busy host need seconds at worst.
const deviceWait = 30 * time.Second

// Main runs the agent. As PID 1 it never returns: it prints a fatal error on the console and
// powers off.
func Main(version string) int {
	if os.Getpid() != 1 {
		return beside(version)
	}
	if err := allowOpenFiles(); err != nil {
		say("%v", err) // most programs need no more than the kernel's limit
	}
	err := mountKernelFS()
	var boot agentproto.Boot
	if err == nil {
		boot, err = readBoot()
	}
	if err == nil {
		err = initMain(version, boot)
	}
	if err != nil {
		say("fatal: %v", err)
	}
	end(boot, false)
	return 1
}

// readBoot reads the agent's configuration from the kernel's command line.
func readBoot() (agentproto.Boot, error) {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return agentproto.Boot{}, err
	}
	return agentproto.ParseBoot(string(cmdline))
}

// initMain boots and serves until the guest is to end.
func initMain(version string, boot agentproto.Boot) error {
	if !boot.Probe || boot.Root != "" {
		if err := enterRoot(boot); err != nil {
			return err
		}
	}
	if boot.Probe {
		fmt.Fprintln(os.Stdout, agentproto.ProbeGreeting)
		return nil
	}
	// The guest is useful without a network: a failure is printed, not fatal.
	for _, err := range configure(boot) {
		say("%v", err)
	}
	if boot.Init != "" {
		return handOver(boot)
	}
	// Never stopped: a signal without a handler would end this process, and with it the
	// guest.
	ctx, _ := onSignals(context.Background())
	ignoreSignals()
	end, err := serve(ctx, version, boot, nil)
	if err != nil {
		return err
	}
	shutDown(boot, end.reboot, end.rest())
	return nil
}

// enterRoot loads the modules, mounts the root disk and makes it the root.
func enterRoot(boot agentproto.Boot) error {
	events, err := openUevents()
	if err != nil {
		return err
	}
	defer events.close()
	if err := loadModules("/modules", boot.Vsock); err != nil {
		return err
	}
	if boot.Root == "" {
		return fmt.Errorf("the kernel command line names no banger.root")
	}
	if err := events.await(deviceWait, func() bool { return exists(boot.Root) }); err != nil {
		return fmt.Errorf("disk %s: %w", boot.Root, err)
	}
	kind, err := mountRoot(boot.Root)
	if err != nil {
		return err
	}
	if kind == writable {
		if err := growRoot(boot.Root, newRoot); err != nil {
			say("%v", err) // what there was of the disk is there
		}
	}
	modules, err := takeModules()
	if err != nil {
		say("%v", err) // the guest is useful without them
	}
	if err := switchRoot(); err != nil {
		return err
	}
	if modules != nil {
		defer modules.Close()
		if err := mountModules(modules); err != nil {
			say("%v", err)
		}
	}
	say("root %s mounted (%s)", boot.Root, kind)
	return nil
}

// shutdownRequest is how the host wants the guest to end.
type shutdownRequest struct {
	reboot bool
	by     time.Time // when it kills the VM
}

// patience returns how long the commands of clients, and the main one, may take to end: more
// than half of the time, so that some is left for the other processes and the disk.
func (e shutdownRequest) patience() time.Duration {
	if e.by.IsZero() {
		return 0 // no deadline
	}
	return max(time.Millisecond, time.Until(e.by)*3/5)
}

// rest returns how long all other processes may take after that.
func (e shutdownRequest) rest() time.Duration {
	if e.by.IsZero() {
		return termWait
	}
	return max(0, time.Until(e.by)/2)
}

// serve answers the host until ctx ends or the host requests the guest's end, and returns that
// request. It calls await, unless nil, between the opening of the channel and the first answer.
func serve(ctx context.Context, version string, boot agentproto.Boot, await func() error) (end shutdownRequest, err error) {
	// The kernel names this process "init" or "exe"; proc_pid_comm(5).
	if err := os.WriteFile("/proc/self/comm", []byte("banger-agent"), 0); err != nil {
		say("take a name: %v", err)
	}
	// The agent is small, and whatever memory it takes is missing in the guest.
	debug.SetGCPercent(50)
	budget.SetHeap(budget.OfGuest(budget.Memory()).Heap)
	host, err := openChannel(boot)
	if err != nil {
		return end, err
	}
	defer host.Close()
	if await != nil {
		if err := await(); err != nil {
			return end, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var once sync.Once
	clock := newClock()
	err = agent.Serve(ctx, agent.Options{
		Version:   version,
		OnHello:   func(h agentproto.Hello) { onHello(h, clock) },
		Incarnate: func(h agentproto.Hello) ([]agentproto.Step, error) { return incarnate(h, clock) },
		Clock:     clock.adjust,
		Console:   console{},
		Freezer:   freezer.Open(freezer.Options{Record: runDir + "/banger-frozen", Say: say}),
		Grow:      func(ctx context.Context, bytes int64) error { return growMounted(ctx, boot.Root, bytes) },
		Network:   func() *api.GuestNetwork { return agent.NetworkOf("/sys/class/net", interfaceName) },
		Shutdown: func(r agentproto.Request) {
			once.Do(func() {
				go unix.Sync() // when the time is over, the host cuts the power
				end = shutdownRequest{r.Reboot, time.Now().Add(r.Grace())}
				cancel()
			})
		},
		Patience: func() time.Duration { return end.patience() },
	}, host)
	return end, err
}

// channel is the connection to the host.
type channel interface {
	agent.Transport
	io.Closer
}

// openChannel opens the connection to the host of the kind that the driver has chosen.
func openChannel(boot agentproto.Boot) (channel, error) {
	if boot.Vsock {
		l, err := transport.ListenVsock(agentproto.AgentPort)
		if err != nil {
			return nil, err
		}
		// A restarted daemon connects to the agent itself: nobody may listen.
		go func() { _ = transport.NotifyHost(agentproto.ReadyPort) }()
		return l, nil
	}
	path, err := findPort()
	if err != nil {
		return nil, err
	}
	return transport.OpenPort(path)
}

// say writes a line to the console, which the host logs.
func say(format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")
	fmt.Fprintf(console{}, "banger-agent: %s\n", text)
}

// console writes to the console. It is opened again for each write: an image's init hangs up
// processes that have it open (TTYVHangup= of systemd.exec(5)). It must not become this process's
// terminal.
type console struct{}

func (console) Write(b []byte) (int, error) {
	f, err := os.OpenFile("/dev/console", os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return os.Stdout.Write(b)
	}
	defer f.Close()
	return f.Write(b)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
