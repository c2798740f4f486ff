// Package daemon is bangerd: it answers HTTP requests on a Unix socket from the VM service, the caches
// and the operations. There is one daemon per installation, which can be killed at any moment. Guests do
// not depend on it; stopping it never affects them.
package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/config"
	"banger/internal/daemon/lock"
	"banger/internal/guest/budget"
	"banger/internal/host/fsx"
	"banger/internal/host/systemd"
	"banger/internal/logging"
	"banger/internal/paths"
)

// Main is the whole of bangerd. It returns the exit status.
func Main(args []string, program Program) int {
	flags := flag.NewFlagSet("bangerd", flag.ContinueOnError)
	version := flags.Bool("version", false, "print the version and exit")
	system := flags.Bool("system", false, "be this machine's daemon: use the directories of system mode")
	check := flags.Bool("check-migrations", false, "say whether the store's schema would be changed, and exit: 0 no, 1 yes, 2 it cannot be")
	backUp := flags.String("backup-store", "", "copy the store beside itself under the `NAME`, and exit")
	restore := flags.String("restore-store", "", "restore the copy of the store of that `NAME`, and exit")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *version {
		fmt.Printf("bangerd %s (%s)\n", program.Version, program.Commit)
		return 0
	}
	if *check || *backUp+*restore != "" {
		p, err := daemonPaths(*system)
		switch {
		case err != nil:
			fmt.Fprintf(os.Stderr, "bangerd: %s\n", api.AsError(err).Message)
			return 2
		case *check:
			return checkMigrations(context.Background(), p, os.Stdout, os.Stderr)
		}
		return moveStore(context.Background(), p, *backUp, *restore, os.Stderr)
	}
	ready := takeReadiness()
	limit := logging.NewLimit(slog.NewTextHandler(logWriter(*system), nil))
	defer limit.Flush()
	log := slog.New(limit)
	err := runProcess(program, log, ready, *system)
	if err != nil {
		log.Error("daemon failed", "error", err)
		ready.tell(err)
		return 1
	}
	return 0
}

// logWriter is standard error, which is kept within bounds where it is the daemon's log.
func logWriter(system bool) io.Writer {
	p, err := daemonPaths(system)
	if err != nil {
		return os.Stderr
	}
	return logging.NewWriter(p.DaemonLog(), os.Stderr, os.Stdout)
}

// runProcess sets up what belongs to the whole process, and runs the daemon.
func runProcess(program Program, log *slog.Logger, ready *readiness, system bool) error {
	// Only the user may access disks, consoles and sockets.
	syscall.Umask(0o077)
	if !system { // systemd sets what its unit says
		loosenLimits()
	}
	tuneMemory()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	// Caught rather than ignored: an ignored signal stays ignored in the
	// programs we run (execve(2)), and pipelines in them rely on SIGPIPE.
	unheard := make(chan os.Signal, 1)
	signal.Notify(unheard, syscall.SIGHUP, syscall.SIGPIPE)
	defer signal.Stop(unheard)
	p, err := daemonPaths(system)
	if err != nil {
		return err
	}
	takeEnvironment(p.ConfigFile())
	return Run(ctx, program, Env{Paths: p, System: system, Log: log}, func(err error) {
		ready.tell(err)
		tellSystemd(log, systemd.Ready)
		context.AfterFunc(ctx, func() { tellSystemd(log, systemd.Stopping) })
	})
}

// takeEnvironment sets the environment of this process, and so of the programs that it runs, from the
// settings: before anything looks up a program, or a proxy, which net/http does once. What is
// wrong with the settings is reported by whoever builds the services.
func takeEnvironment(file string) {
	c, err := config.Load(file, os.Getenv, config.DetectHost())
	if err != nil {
		return
	}
	for name, value := range c.Environment() {
		_ = os.Setenv(name, value) // fails only for invalid names
	}
}

func daemonPaths(system bool) (paths.Paths, error) {
	if system {
		return paths.System(), nil
	}
	return paths.User()
}

// tellSystemd reports the daemon's state to systemd, if systemd started it. Nothing else
// depends on it.
func tellSystemd(log *slog.Logger, state string) {
	if err := systemd.Notify(state); err != nil {
		log.Warn("systemd does not listen", "error", err)
	}
}

// tuneMemory trades a little CPU for a small resident set: the daemon's live
// heap is a few MiB, so that it collects often at no noticeable cost, unless
// the user has set it.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	budget.SetHeap(budget.OfDaemon(budget.Memory()).Heap)
}

// trimAbove is more than a daemon with dozens of VMs holds (14 MiB with none).
const trimAbove = 48 << 20

// trimMemory returns memory that long work needed and nothing needs now: unpacking
// a kernel leaves 180 MiB of garbage, which an idle daemon would keep until the
// runtime's own collection two minutes later.
func trimMemory() {
	if residentBytes() > trimAbove {
		debug.FreeOSMemory()
	}
}

// Run runs a daemon until ctx ends or a client stops it. ready is called once
// it answers requests.
func Run(ctx context.Context, program Program, env Env, ready func(error)) error {
	began := time.Now()
	if err := os.MkdirAll(env.Paths.Data, 0o700); err != nil {
		return api.Errorf(api.KindInternal, "cannot make the data directory: %w", err)
	}
	held, err := lock.Take(ctx, env.Paths.Lock(), env.Paths.Socket())
	if err != nil {
		return err
	}
	defer held.Close()
	listener, err := fsx.ListenUnix(env.Paths.Socket())
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot listen: %w", err)
	}
	// Nobody else listens here while the lock is held.
	defer os.Remove(env.Paths.Socket())

	server := NewServer(program, env)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	svc, err := open(ctx, program, env)
	if err != nil {
		if ctx.Err() != nil { // the next daemon answers the client
			err = api.Errorf(api.KindCanceled, "the daemon was asked to stop before it was ready: %w", err)
		} else {
			server.Fail(err)
		}
		server.Shutdown()
		return errors.Join(err, <-served)
	}
	server.Open(svc)
	env.Log.Info("ready", "version", program.Version, "pid", os.Getpid(), "home", env.Paths.Data,
		"took", time.Since(began).Round(time.Millisecond))
	ready(nil)
	// Memory that only the start needed is returned to the host.
	debug.FreeOSMemory()

	select {
	case <-ctx.Done():
	case <-server.Stopping():
	case err = <-served:
		served <- nil
	}
	env.Log.Info("stopping; guests keep running")
	server.Shutdown()
	return errors.Join(err, <-served, svc.Close())
}

// open builds the services and recovers what an earlier daemon left.
func open(ctx context.Context, program Program, env Env) (*Services, error) {
	svc, err := program.Build(ctx, env)
	if err != nil {
		return nil, err
	}
	if err := svc.Recover(ctx); err != nil {
		return nil, errors.Join(err, svc.Close())
	}
	return svc, nil
}
