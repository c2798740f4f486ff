// Package record reads and writes the install record in /etc/banger, which names the
// owner of this machine's banger, and checks it against the accounts. The root helper
// obeys the record, so a record that was tampered with, or that has become wrong, is
// refused as a whole.
package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/BurntSushi/toml"
	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
)

// Record is /etc/banger/install.toml.
type Record struct {
	Owner string `toml:"owner" json:"owner"`
	UID   int    `toml:"uid" json:"uid"`
	GID   int    `toml:"gid" json:"gid"`
	Home  string `toml:"home" json:"home"`

	Version     string    `toml:"version" json:"version"`
	Commit      string    `toml:"commit" json:"commit"`
	BuiltAt     time.Time `toml:"built_at" json:"built_at"`
	InstalledAt time.Time `toml:"installed_at" json:"installed_at"`

	// VM number n has uid and gid UIDBase+n.
	UIDBase  int `toml:"uid_base" json:"uid_base"`
	UIDCount int `toml:"uid_count" json:"uid_count"`
	// Network is the range of the VMs' addresses.
	Network string `toml:"network" json:"network"`
	// IPForwardBefore is the host's net.ipv4.ip_forward before the installation, which
	// an uninstallation restores.
	IPForwardBefore string `toml:"ip_forward_before" json:"ip_forward_before"`
}

// maxFile bounds the record in bytes: real ones have 500.
const maxFile = 64 << 10

// fix is what to type if a record is refused.
const fix = "sudo banger system install --owner USER   writes a new one, after the wrong one was moved away: sudo mv %[1]s %[1]s.wrong"

// Read reads the record at path, which only root may be able to change.
func Read(path string) (Record, error) { return ReadOwned(path, 0) }

// ReadOwned reads a record that has to belong to uid, for tests without root.
func ReadOwned(path string, uid int) (Record, error) {
	data, err := readFile(path, uid)
	if errors.Is(err, os.ErrNotExist) {
		return Record{}, api.Errorf(api.KindNotFound, "banger is not installed on this machine: %w", err).
			WithHint("sudo banger system install --owner USER")
	}
	var r Record
	if err == nil {
		r, err = Parse(data)
	}
	if err != nil {
		return Record{}, api.Errorf(api.KindDenied, "cannot trust the install record %s: %w", path, err).WithHint(fix, path)
	}
	return r, nil
}

func readFile(path string, uid int) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case int(st.Uid) != uid:
		return nil, fmt.Errorf("it belongs to uid %d, not %d", st.Uid, uid)
	case info.Mode().Perm()&0o022 != 0:
		return nil, fmt.Errorf("others than its owner can write to it (mode %04o)", info.Mode().Perm())
	case info.Size() > maxFile:
		return nil, errors.New("it is too large")
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// Parse parses the text of a record and checks that it is complete and valid.
func Parse(data []byte) (Record, error) {
	var r Record
	meta, err := toml.Decode(string(data), &r)
	if err != nil {
		return Record{}, err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return Record{}, fmt.Errorf("the setting %q is unknown", unknown[0])
	}
	for _, key := range keys() {
		if !meta.IsDefined(key) {
			return Record{}, fmt.Errorf("the setting %q is missing", key)
		}
	}
	return r, r.validate()
}

func keys() []string {
	return []string{"owner", "uid", "gid", "home", "version", "commit", "built_at", "installed_at", "uid_base", "uid_count", "network", "ip_forward_before"}
}

var (
	// What useradd(8) accepts, and dots, which are common in directory services.
	userName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`)
	// A version is the name of a directory.
	versionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)
)

// ValidOwner reports whether an account's name can be written to a unit file.
func ValidOwner(name string) bool { return userName.MatchString(name) }

// ValidVersion reports whether a version can be the name of a directory.
func ValidVersion(version string) bool { return versionName.MatchString(version) }

// Slots is the number of distinct VM numbers.
const Slots = 16384

// perVM is how many addresses each VM's link has (RFC 3021).
const perVM = 2

func (r Record) validate() error {
	prefix, err := netip.ParsePrefix(r.Network)
	switch {
	case !ValidOwner(r.Owner):
		return fmt.Errorf("%q is not a valid user name", r.Owner)
	case r.UID <= 0 || r.GID <= 0 || r.UID > maxUID || r.GID > maxUID:
		return fmt.Errorf("uid %d and gid %d are not those of an ordinary user", r.UID, r.GID)
	case !filepath.IsAbs(r.Home) || filepath.Clean(r.Home) != r.Home || strings.ContainsAny(r.Home, "\n\x00"):
		return fmt.Errorf("%q is not a valid home directory", r.Home)
	case !ValidVersion(r.Version):
		return fmt.Errorf("%q is not a valid version", r.Version)
	case r.UIDCount < 1 || r.UIDCount > Slots:
		return fmt.Errorf("%d is not a valid number of uids for VMs", r.UIDCount)
	case r.UIDBase < minBase || r.UIDBase > maxUID-r.UIDCount:
		return fmt.Errorf("the uids for VMs, from %d on, are outside of %d to %d", r.UIDBase, minBase, maxUID)
	case err != nil:
		return err
	case !prefix.Addr().Is4() || prefix.Masked() != prefix || !prefix.Addr().IsPrivate():
		return fmt.Errorf("%s is not a private IPv4 network", r.Network)
	case 1<<(32-prefix.Bits()) < perVM*(r.UIDCount+1): // the last pair is for guests' DNS requests
		return fmt.Errorf("the network %s is too small for %d VMs", r.Network, r.UIDCount)
	case r.IPForwardBefore != "0" && r.IPForwardBefore != "1":
		return fmt.Errorf("ip_forward_before is %q, not 0 or 1", r.IPForwardBefore)
	}
	return nil
}

// Write writes the record to path, atomically.
func (r Record) Write(path string) error {
	if err := r.validate(); err != nil {
		return api.Errorf(api.KindInternal, "cannot write an invalid install record: %w", err)
	}
	var b bytes.Buffer
	b.WriteString("# Written by `banger system install`; banger's root helper obeys it.\n")
	if err := toml.NewEncoder(&b).Encode(r); err != nil {
		return api.AsError(err)
	}
	return fsx.DiskError("write the install record", fsx.WriteFile(path, b.Bytes(), 0o644))
}
