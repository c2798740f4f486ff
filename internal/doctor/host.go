package doctor

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"banger/internal/commands"
	"banger/internal/config"
	"banger/internal/driver"
	"banger/internal/host/execx"
	"banger/internal/paths"
)

// Host gives the doctor access to a host; tests use their own.
type Host struct {
	UID   int
	User  string
	Paths paths.Paths
	// Bin is the directory of the links to the installation's command; empty: there is no installation.
	Bin string

	LookPath func(name string) (string, error)
	ReadFile func(path string) ([]byte, error)
	ReadDir  func(path string) ([]os.DirEntry, error)
	// OpenKVM opens /dev/kvm for reading and writing, and closes it again.
	OpenKVM func() error
	// Free returns how many bytes an ordinary user can still write below path.
	Free func(path string) (int64, error)
	// ReadOnly reports whether the file system of path is mounted read-only; nil:
	// never.
	ReadOnly func(path string) bool
	// Settings reads banger's settings.
	Settings func() error
	// OpenFiles returns how many descriptors this process may open.
	OpenFiles func() (uint64, error)

	Probes
	System *System // nil in user mode
}

// Probes are checks that only drivers can do. Nil ones are skipped.
type Probes struct {
	// VMM returns what the VMM driver has found out, without a boot.
	VMM func(ctx context.Context) (driver.Capability, error)
	// Reflink reports whether disks can be reflinks.
	Reflink func(ctx context.Context) error
	// Suspended returns the names of suspended VMs that can continue here and now, and why each other one cannot.
	Suspended func(ctx context.Context) (fit, stranded []string)
}

// ThisHost returns the host this process runs on.
func ThisHost(p paths.Paths, probes Probes) Host {
	self, _ := os.Executable() // an error: as if nothing was installed
	return Host{
		UID: os.Getuid(), User: userName(), Paths: p, Bin: bin(p, self), Probes: probes,
		LookPath:  func(name string) (string, error) { return execx.LookPath(name, "") },
		ReadFile:  os.ReadFile,
		ReadDir:   os.ReadDir,
		OpenKVM:   openKVM,
		Free:      free,
		ReadOnly:  readOnly,
		OpenFiles: openFiles,
		Settings: func() error {
			_, err := config.Load(p.ConfigFile(), os.Getenv, config.DetectHost())
			return err
		},
	}
}

// bin returns the directory of the links of the installation that the program at self belongs to.
func bin(p paths.Paths, self string) string {
	if p.Managed {
		return paths.Commands
	}
	versions := filepath.Dir(filepath.Dir(self)) // of PREFIX/lib/banger/versions/VERSION/bangerd
	if filepath.Base(versions) != "versions" {
		return ""
	}
	return commands.Dir(filepath.Dir(versions))
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}

func openKVM() error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func free(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

func readOnly(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Flags&unix.ST_RDONLY != 0
}

func openFiles() (uint64, error) {
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	return limit.Max, err
}
