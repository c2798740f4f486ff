package system

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"banger/api"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/internal/host/rootexec"
	"banger/internal/host/systemd"
	"banger/internal/paths"
	"banger/internal/system/record"
)

// ThisHost returns this machine. The caller adds the functions that access banger's
// daemons.
func ThisHost() *Host {
	return &Host{
		Root: "/", UID: os.Geteuid(), Chown: os.Lchown, Getent: getent, Now: time.Now,
		Connect: func(ctx context.Context) (Manager, error) {
			b, err := systemd.Connect(ctx)
			if err != nil {
				return nil, err
			}
			return b, nil
		},
	}
}

// getent looks up an account that is not in /etc/passwd: nsswitch.conf(5) may name
// other sources, which only the C library reads.
func getent(ctx context.Context, name string) (string, error) {
	var out bytes.Buffer
	if err := rootexec.Run(ctx, execx.Cmd{Name: "getent", Args: []string{"passwd", "--", name}, Stdout: &out}); err != nil {
		return "", nil // there is no such account, or no such program
	}
	line, _, _ := strings.Cut(out.String(), "\n")
	return line, nil
}

// needRoot refuses work that requires root.
func (h *Host) needRoot(command string) error {
	if h.UID == h.Superuser {
		return nil
	}
	return api.Errorf(api.KindDenied, "cannot %s the system's banger: only root can", command).
		WithHint("sudo banger system %s", command)
}

// needSystemd refuses a machine whose init is another one (sd_booted(3)).
func (h *Host) needSystemd() error {
	if info, err := os.Stat(h.path("/run/systemd/system")); err == nil && info.IsDir() {
		return nil
	}
	return api.Errorf(api.KindUnsupported, "cannot run banger as a service: this machine is not run by systemd").
		WithHint("banger vm run   needs no installation")
}

// record reads the install record, if there is one.
func (h *Host) record() (record.Record, error) {
	return record.ReadOwned(h.path(paths.InstallRecord), h.Superuser)
}

// lookup finds the owner's account.
func (h *Host) lookup(ctx context.Context, a record.Accounts, name string) (record.User, error) {
	unknown := api.Errorf(api.KindInvalid, "cannot install for %q: there is no such user", name).WithHint("getent passwd   lists the users")
	if !record.ValidOwner(name) {
		return record.User{}, unknown
	}
	if u, ok := a.Lookup(name); ok {
		return u, nil
	}
	line, err := h.Getent(ctx, name)
	if err != nil {
		return record.User{}, err
	}
	if u, ok := record.ParseUser(line); ok && u.Name == name {
		return u, nil
	}
	return record.User{}, unknown
}

// makeDir makes a directory, or sets the mode and owner of an existing one. It refuses
// a symbolic link: the target does not belong to banger.
func (h *Host) makeDir(path string, mode os.FileMode, uid, gid int) error {
	full := h.path(path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return fsx.DiskError("make directory", err)
	}
	err := os.Mkdir(full, mode)
	if err != nil && !os.IsExist(err) {
		return fsx.DiskError("make directory", err)
	}
	info, err := os.Lstat(full)
	if err != nil {
		return api.AsError(err)
	}
	if !info.IsDir() {
		return api.Errorf(api.KindConflict, "cannot use %s: it is not a directory", path).
			WithHint("move %s away; to use another disk, mount it there", path)
	}
	if err := h.Chown(full, uid, gid); err != nil {
		return api.Errorf(api.KindInternal, "cannot give %s to uid %d: %w", path, uid, err)
	}
	if err := os.Chmod(full, mode); err != nil {
		return api.AsError(err)
	}
	return nil
}
