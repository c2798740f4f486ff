package roothelper

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/driver/firecracker"
	"banger/internal/host/execx"
	"banger/internal/host/rootexec"
	"banger/internal/paths"
	"banger/internal/rootapi"
)

// programs finds the VMMs of this host. It asks each file for its version once, so that the
// start of a VM runs no other program for it.
type programs struct {
	mu    sync.Mutex
	known map[fileState]string // the program's output for --version
}

// fileState identifies the state of a program's file.
type fileState struct {
	path  string
	inode uint64
	time  time.Time
}

// pair is a Firecracker and its jailer.
type pair struct {
	firecracker, jailer string // paths
	version             string
	warnings            []string
}

// searchPath are the directories in which programs that the configuration does not name are
// searched for: first the one of `banger system firecracker`, then root's usual directories,
// regardless of the environment.
var searchPath = append([]string{paths.FirecrackerCurrent}, paths.ProgramDirs...)

const versionTime = 10 * time.Second

// firecracker returns the Firecracker and the jailer to use, and refuses unusable versions.
func (p *programs) firecracker(s Settings) (pair, error) {
	var found pair
	var err error
	if found.firecracker, err = locate(s.Firecracker, "firecracker"); err != nil {
		return pair{}, err
	}
	if found.jailer, err = locate(s.Jailer, "jailer"); err != nil {
		return pair{}, err
	}
	fc, err := p.ask(found.firecracker, firecracker.Firecracker)
	if err != nil {
		return pair{}, err
	}
	jailer, err := p.ask(found.jailer, firecracker.Jailer)
	if err != nil {
		return pair{}, err
	}
	found.version = fc.String()
	found.warnings, err = firecracker.CheckVersions(fc, jailer)
	return found, err
}

// qemu returns the path of QEMU.
func (p *programs) qemu(s Settings) (string, error) { return locate(s.QEMU, "qemu-system-x86_64") }

// locate finds a program, and refuses one that users other than root can change.
func locate(configured, name string) (string, error) { return locateIn(searchPath, configured, name) }

// locateIn returns the configured program, or the first one in dirs.
func locateIn(dirs []string, configured, name string) (string, error) {
	if configured != "" {
		dirs, name = []string{filepath.Dir(configured)}, filepath.Base(configured)
	}
	path, err := rootexec.Find(name, dirs)
	if e := api.AsError(err); e != nil && e.Hint == "" {
		err = e.WithHint("%s", installHint(name))
	}
	return path, err
}

func installHint(name string) string {
	if name == "qemu-system-x86_64" {
		return "sudo apt-get install qemu-system-x86"
	}
	return firecracker.Get + "   installs both programs; or use QEMU: --driver qemu"
}

// ask returns the version that a program reports.
func (p *programs) ask(path, name string) (firecracker.Version, error) {
	info, err := os.Stat(path)
	if err != nil {
		return firecracker.Version{}, err
	}
	state := fileState{path: path, time: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		state.inode = st.Ino
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	said, ok := p.known[state]
	if !ok {
		ctx, cancel := context.WithTimeout(context.Background(), versionTime)
		defer cancel()
		var out bytes.Buffer
		if err := rootexec.Run(ctx, execx.Cmd{Name: path, Args: []string{"--version"}, Stdout: &limited{to: &out}}); err != nil {
			return firecracker.Version{}, api.Errorf(api.KindUnsupported, "cannot use %s: %w", path, err)
		}
		said = out.String()
		if p.known == nil {
			p.known = map[fileState]string{}
		}
		p.known[state] = said
	}
	return firecracker.ParseVersion(name, said)
}

// limited keeps the first bytes of a program's output.
type limited struct{ to *bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	const most = 4 << 10
	l.to.Write(b[:min(most-l.to.Len(), len(b))])
	return len(b), nil
}

// check reports what the host can do.
func (h *Helper) check(ctx context.Context, c rootapi.CheckCall) rootapi.CheckAnswer {
	var a rootapi.CheckAnswer
	if err := h.Blocks.Available(); err != nil {
		a.DeviceMapper = err.Error()
	}
	if err := kvmWorks(); err != nil {
		a.KVM = err.Error()
	}
	pair, err := h.programs.firecracker(h.Settings)
	a.Firecracker = judged(pair.version, pair.warnings, err)
	if err == nil {
		a.Firecracker.Path, a.Firecracker.Jailer = pair.firecracker, pair.jailer
	}
	_, err = h.programs.qemu(h.Settings)
	a.QEMU = judged("installed", nil, err)
	if c.Network {
		a.Network = h.Firewall.Check(ctx)
	}
	return a
}

func judged(version string, warnings []string, err error) rootapi.VMMCheck {
	if err != nil {
		e := api.AsError(err)
		return rootapi.VMMCheck{Reason: e.Message, Hint: e.Hint}
	}
	return rootapi.VMMCheck{Version: version, Warnings: warnings}
}

// kvmWorks opens /dev/kvm. Whether a guest boots is shown only by a boot.
func kvmWorks() error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
