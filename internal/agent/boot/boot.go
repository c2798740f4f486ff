// Package bootup is the agent's life before it serves: as PID 1 of the
// initramfs it loads the kernel modules it was given, mounts the root disk,
// moves into it and sets up the network. It needs nothing from the image.
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

	"banger/internal/agent"
	"banger/internal/agentproto"
	"banger/internal/budget"
)

// portName is what the host calls the agent's virtio-serial port.
const portName = "banger.agent"

// deviceWait is how long a device may take to appear once its driver is
// loaded. Emulated guests on a busy host need seconds at worst.
const deviceWait = 30 * time.Second

// Main runs the agent. As PID 1 it never returns; what it cannot do it says on
// the console, and powers off.
func Main(version string) int {
	if os.Getpid() != 1 {
		return beside(version)
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

// readBoot reads what the kernel's command line says to the agent.
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
	// The guest is of use without a network: what fails is said, not fatal.
	for _, err := range configure(boot) {
		say("%v", err)
	}
	if boot.Init != "" {
		return handOver(boot)
	}
	// Never given up: a signal that nobody hears would end this process, and with
	// it the guest.
	ctx, _ := onSignals(context.Background())
	heedNothing()
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
		say("%v", err) // the guest is of use without
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

// ending is how the host wants the guest to end.
type ending struct {
	reboot bool
	by     time.Time // when it pulls the plug
}

// patience is how long the commands of clients, and the main one, may take to end:
// more than half of the time, so that the rest and the disk have some, too.
func (e ending) patience() time.Duration {
	if e.by.IsZero() {
		return 0 // nobody pulls the plug
	}
	return max(time.Millisecond, time.Until(e.by)*3/5)
}

// rest is how long all other processes may take after that.
func (e ending) rest() time.Duration {
	if e.by.IsZero() {
		return termWait
	}
	return max(0, time.Until(e.by)/2)
}

// serve answers the host until ctx ends or the host asks for the guest's end, and
// says how that is to be. Where await is given it is called between the opening of
// the channel and the first answer.
func serve(ctx context.Context, version string, boot agentproto.Boot, await func() error) (end ending, err error) {
	// The kernel calls us "init" or "exe"; proc_pid_comm(5).
	if err := os.WriteFile("/proc/self/comm", []byte("banger-agent"), 0); err != nil {
		say("take a name: %v", err)
	}
	if err := agent.RaiseOpenFiles(); err != nil {
		say("%v", err)
	}
	// It is small, and all of a guest's memory that it takes is missing there.
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
		Version: version,
		OnHello: func(h agentproto.Hello) { onHello(h, clock) },
		Clock:   clock.told,
		Console: console{},
		Shutdown: func(r agentproto.Request) {
			once.Do(func() {
				go unix.Sync() // what happens when time runs out is a loss of power
				end = ending{r.Reboot, time.Now().Add(r.Grace())}
				cancel()
			})
		},
		Patience: func() time.Duration { return end.patience() },
	}, host)
	return end, err
}

// channel is the way to the host.
type channel interface {
	agent.Transport
	io.Closer
}

// openChannel opens the way to the host that the driver has said there is.
func openChannel(boot agentproto.Boot) (channel, error) {
	if boot.Vsock {
		l, err := agent.ListenVsock(agentproto.AgentPort)
		if err != nil {
			return nil, err
		}
		// Whoever restarts a daemon finds the agent by itself: nobody may listen.
		go func() { _ = agent.RingVsock(agentproto.ReadyPort) }()
		return l, nil
	}
	path, err := findPort()
	if err != nil {
		return nil, err
	}
	return agent.OpenPort(path)
}

// say writes a line to the console, which the host keeps.
func say(format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")
	fmt.Fprintf(console{}, "banger-agent: %s\n", text)
}

// console writes to the console. It is opened anew each time: an image's init hangs
// up who has it open (TTYVHangup= of systemd.exec(5)). It must not become this
// process's terminal.
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
