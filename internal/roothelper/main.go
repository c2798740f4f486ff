package roothelper

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/config"
	"banger/internal/daemon/fcproc"
	"banger/internal/host/fsx"
	"banger/internal/host/network/netns"
	"banger/internal/host/resolved"
	"banger/internal/host/systemd"
	"banger/internal/logging"
	"banger/internal/paths"
	"banger/internal/roothelper/hostfirewall"
	"banger/internal/roothelper/instancelock"
	"banger/internal/system/record"
)

// Main is the whole of bangerd-root. It returns the exit status.
func Main(args []string, version, commit string) int {
	if len(args) > 0 && args[0] == LaunchArg {
		err := Launch(args[1:])
		fmt.Fprintln(os.Stderr, "banger: cannot execute QEMU:", err)
		return 1
	}
	flags := flag.NewFlagSet("bangerd-root", flag.ContinueOnError)
	show := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *show {
		fmt.Printf("bangerd-root %s (%s)\n", version, commit)
		return 0
	}
	limit := logging.NewLimit(slog.NewTextHandler(os.Stderr, nil))
	defer limit.Flush()
	log := slog.New(limit)
	if err := run(version, log); err != nil {
		log.Error("the root helper failed", "error", err)
		return 1
	}
	return 0
}

// poolSize is how many network namespaces are prepared in advance: as many as VMs are usually
// started at the same time.
const poolSize = 4

func run(version string, log *slog.Logger) error {
	began := time.Now()
	// Files of the helper are private unless it sets another mode.
	syscall.Umask(0o077)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if os.Geteuid() != 0 {
		return api.Errorf(api.KindDenied, "bangerd-root must run as root").WithHint("sudo systemctl start bangerd-root")
	}
	installed, err := record.Read(paths.InstallRecord)
	if err != nil {
		return err
	}
	// Before it touches anything: the previous helper may still be working.
	release, err := instancelock.Take(ctx, paths.RootRun, instancelock.Patience)
	if err != nil {
		return err
	}
	defer func() { _ = release() }()
	names := &resolved.Names{Log: log}
	h, networks, err := newHelper(ctx, installed, names, log)
	if err != nil {
		return err
	}
	var warming sync.WaitGroup
	defer networks.Close()
	defer h.Firewall.Close()
	defer warming.Wait()
	keeping, stopKeeping := context.WithCancel(ctx)
	defer stopKeeping()
	warming.Go(func() { names.Keep(keeping) })
	warming.Go(func() { h.warm(ctx, networks, log) })
	l, err := Listen(paths.RootSocket, installed.UID, installed.GID)
	if err != nil {
		return err
	}
	if err := systemd.Notify(systemd.Ready); err != nil {
		log.Warn("cannot notify systemd", "error", err)
	}
	log.Info("ready", "version", version, "pid", os.Getpid(), "owner", installed.Owner,
		"took", time.Since(began).Round(time.Millisecond))
	server := Server{Version: version, Owner: installed.UID, Helper: h, Log: log}
	err = server.Serve(ctx, l)
	log.Info("stopping; guests keep running")
	return err
}

// warm prepares what the first start of a VM would wait for, while requests are already
// answered: running nft(8) and asking programs for their versions takes longer than all else
// that the helper does until it is ready.
func (h *Helper) warm(ctx context.Context, networks *netns.Manager, log *slog.Logger) {
	// First, because running guests rely on it. A VM that requests a network during this
	// waits; without the table no VM gets a network, but everything else works.
	if err := h.Firewall.Ensure(ctx); err != nil {
		log.Error("cannot load the firewall's table: no VM gets a network until that works", "error", err)
	}
	if ctx.Err() != nil {
		return
	}
	// Their faults are reported to whoever uses them.
	_, _ = h.programs.firecracker(h.Settings)
	networks.Fill()
}

func newHelper(ctx context.Context, r record.Record, names Names, log *slog.Logger) (*Helper, *netns.Manager, error) {
	outer, err := netip.ParsePrefix(r.Network)
	if err != nil {
		return nil, nil, api.Errorf(api.KindInternal, "cannot use the network %q: %w", r.Network, err)
	}
	for dir, mode := range map[string]os.FileMode{paths.Jails: 0o711, paths.BootFiles: 0o755} {
		if err := errors.Join(os.MkdirAll(dir, mode), os.Chmod(dir, mode)); err != nil {
			return nil, nil, api.Errorf(api.KindInternal, "cannot create a directory: %w", err)
		}
	}
	units, err := systemd.Connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	networks, err := netns.New(netns.Options{Outer: outer, Pool: poolSize, Log: log})
	if err != nil {
		return nil, nil, err
	}
	h := &Helper{
		Settings: Settings{UIDBase: r.UIDBase, UIDCount: r.UIDCount, Outer: outer, Self: self},
		Owner:    r.UID,
		Blocks:   KernelBlocks{}, Networks: networks, Units: units,
		Firewall: &hostfirewall.Firewall{Outer: outer, Log: log},
		Names:    names,
		Host:     fcproc.System(),
		Dirs:     Dirs{Jails: paths.Jails, Boot: paths.BootFiles, Run: paths.RootRun},
	}
	h.configure(log)
	return h, networks, nil
}

// configure takes the programs' paths from the configuration, if only root can change it.
func (h *Helper) configure(log *slog.Logger) {
	path := filepath.Join(paths.SystemConfig, "config.toml")
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return
	}
	err := fsx.OwnersAlone(path, 0)
	var c config.Config
	if err == nil {
		c, err = config.Load(path, func(string) string { return "" }, config.DetectHost())
	}
	if err != nil {
		log.Error("the configuration is ignored: programs are searched for in the usual directories", "file", path, "error", err)
		return
	}
	h.Settings.Firecracker, h.Settings.Jailer, h.Settings.QEMU = c.Firecracker, c.Jailer, c.QEMU
}
