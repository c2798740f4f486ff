// Package bootup is the agent's life before it serves: as PID 1 of the
// initramfs it loads the kernel modules it was given, mounts the root disk,
// moves into it and sets up the network. It needs nothing from the image.
package bootup

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"banger/internal/agent"
	"banger/internal/agentproto"
)

// portName is what the host calls the agent's virtio-serial port.
const portName = "banger.agent"

// deviceWait is how long a device may take to appear once its driver is
// loaded. Emulated guests on a busy host need seconds at worst.
const deviceWait = 30 * time.Second

// serveArg is the argument of the agent that serves beside an image's own init.
const serveArg = "serve"

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
	if boot.Probe {
		fmt.Fprintln(os.Stdout, agentproto.ProbeGreeting)
		return nil
	}
	if err := enterRoot(boot); err != nil {
		return err
	}
	// The guest is of use without a network: what fails is said, not fatal.
	for _, err := range configure(boot) {
		say("%v", err)
	}
	if boot.Init != "" {
		return handOver(boot.Init)
	}
	// Never given up: a signal that nobody hears would end this process, and with
	// it the guest.
	ctx, _ := onSignals(context.Background())
	reboot, err := serve(ctx, version, boot)
	if err != nil {
		return err
	}
	shutDown(boot, reboot)
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
	if err := switchRoot(); err != nil {
		return err
	}
	say("root %s mounted (%s)", boot.Root, kind)
	return nil
}

// serve answers the host until ctx ends or the host asks for the guest's end.
func serve(ctx context.Context, version string, boot agentproto.Boot) (reboot bool, err error) {
	// The kernel calls us "init" or "exe"; proc_pid_comm(5).
	if err := os.WriteFile("/proc/self/comm", []byte("banger-agent"), 0); err != nil {
		say("take a name: %v", err)
	}
	host, err := openChannel(boot)
	if err != nil {
		return false, err
	}
	defer host.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var once sync.Once
	err = agent.Serve(ctx, agent.Options{
		Version:  version,
		OnHello:  onHello,
		Console:  os.Stdout,
		Shutdown: func(r bool) { once.Do(func() { reboot = r; cancel() }) },
	}, host)
	return reboot, err
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
		go func() { _ = agent.RingVsock(agentproto.DoorbellPort) }()
		return l, nil
	}
	path, err := findPort()
	if err != nil {
		return nil, err
	}
	return agent.OpenPort(path)
}

// handOver starts the agent as a child and becomes the image's own init.
func handOver(path string) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("the image's init: %w", err)
	}
	// The initramfs is gone, but the kernel still has the file we run from.
	_, err := syscall.ForkExec("/proc/self/exe", []string{"banger-agent", serveArg}, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("start the agent beside %s: %w", path, err)
	}
	say("starting %s", path)
	return fmt.Errorf("start %s: %w", path, syscall.Exec(path, []string{path}, os.Environ()))
}

// beside is the agent as a child of the image's init.
func beside(version string) int {
	if len(os.Args) != 2 || os.Args[1] != serveArg {
		fmt.Fprintln(os.Stderr, "banger-agent is the first process of a banger guest, and of no use elsewhere")
		return 2
	}
	boot, err := readBoot()
	if err != nil {
		say("the agent ended: %v", err)
		return 1
	}
	ctx, stop := onSignals(context.Background())
	reboot, err := serve(ctx, version, boot)
	told := ctx.Err() != nil
	stop()
	switch {
	case err != nil:
		say("the agent ended: %v", err)
		return 1
	case told: // the image's init ends the guest: it must not wait for this process
		return 0
	}
	endInit(boot, reboot)
	return 0
}

// say writes a line to the console, which the host keeps.
func say(format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")
	fmt.Fprintf(os.Stdout, "banger-agent: %s\n", text)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
