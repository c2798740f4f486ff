package record

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"banger/api"
)

// The uids for VMs. systemd leaves everything from 0x70000000 to 0x7fffffff unused
// (systemd.io/UIDS-GIDS), useradd(8) stays far below, and some programs treat a uid of
// 2³¹ or more as negative. The lowest base avoids 16-bit uids.
const (
	DefaultBase = 1_900_000_000
	minBase     = 1 << 16
	maxUID      = 1<<31 - 2
)

// Accounts is the text of the files that list used uids and gids: passwd(5), group(5),
// subuid(5) and subgid(5).
type Accounts struct{ Passwd, Group, SubUID, SubGID []byte }

// ReadAccounts reads the account files below root, which is "/" except in tests. Those
// for subordinate ids may be missing.
func ReadAccounts(root string) (Accounts, error) {
	var a Accounts
	for name, into := range map[string]*[]byte{"passwd": &a.Passwd, "group": &a.Group, "subuid": &a.SubUID, "subgid": &a.SubGID} {
		data, err := os.ReadFile(filepath.Join(root, "etc", name))
		if err != nil && (!errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(name, "sub")) {
			return a, api.Errorf(api.KindInternal, "cannot read the accounts: %w", err)
		}
		*into = data
	}
	return a, nil
}

// User is an account.
type User struct {
	Name     string
	UID, GID int
	Home     string
}

// Lookup finds a user by name.
func (a Accounts) Lookup(name string) (User, bool) {
	for line := range bytes.Lines(a.Passwd) {
		if u, ok := ParseUser(string(line)); ok && u.Name == name {
			return u, true
		}
	}
	return User{}, false
}

// ParseUser reads a line of passwd(5).
func ParseUser(line string) (User, bool) {
	f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
	if len(f) != 7 {
		return User{}, false
	}
	uid, err := strconv.ParseUint(f[2], 10, 32)
	gid, gidErr := strconv.ParseUint(f[3], 10, 32)
	return User{Name: f[0], UID: int(uid), GID: int(gid), Home: f[5]}, err == nil && gidErr == nil
}

// span is a range of ids and its owner.
type span struct {
	first, last int
	who         string
}

// taken lists the ids in use. Lines without ids, such as those for NIS, are skipped.
func (a Accounts) taken() []span {
	var all []span
	single := func(file string, text []byte, column int) {
		for line := range bytes.Lines(text) {
			f := strings.Split(strings.TrimSpace(string(line)), ":")
			if len(f) > column {
				if id, err := strconv.ParseUint(f[column], 10, 32); err == nil {
					all = append(all, span{int(id), int(id), f[0] + " of " + file})
				}
			}
		}
	}
	single("/etc/passwd", a.Passwd, 2)
	single("/etc/passwd", a.Passwd, 3)
	single("/etc/group", a.Group, 2)
	ranges := func(file string, text []byte) {
		for line := range bytes.Lines(text) {
			f := strings.Split(strings.TrimSpace(string(line)), ":")
			if len(f) != 3 {
				continue
			}
			first, err := strconv.ParseUint(f[1], 10, 32)
			count, countErr := strconv.ParseUint(f[2], 10, 32)
			if err == nil && countErr == nil && count > 0 {
				all = append(all, span{int(first), int(first + count - 1), f[0] + " of " + file})
			}
		}
	}
	ranges("/etc/subuid", a.SubUID)
	ranges("/etc/subgid", a.SubGID)
	return all
}

// overlap finds an account with one of count ids starting at base.
func (a Accounts) overlap(base, count int) (span, bool) {
	for _, s := range a.taken() {
		if s.first < base+count && s.last >= base {
			return s, true
		}
	}
	return span{}, false
}

// FreeRange returns the first base, starting at want, with count unused ids.
func (a Accounts) FreeRange(want, count int) (int, error) {
	base := want
	for base >= minBase && base <= maxUID-count {
		s, taken := a.overlap(base, count)
		if !taken {
			return base, nil
		}
		base = s.last + 1
	}
	return 0, api.Errorf(api.KindConflict, "cannot find %d consecutive unused uids for VMs between %d and %d", count, want, maxUID).
		WithHint("cat /etc/subuid /etc/subgid")
}

// Check compares a record with the accounts.
func (r Record) Check(owner User, a Accounts) error {
	if owner.UID != r.UID || owner.GID != r.GID {
		return api.Errorf(api.KindDenied, "cannot trust the install record: user %s has uid %d and gid %d, not %d and %d as recorded",
			r.Owner, owner.UID, owner.GID, r.UID, r.GID).WithHint("sudo banger system uninstall; sudo banger system install --owner %s", r.Owner)
	}
	if s, taken := a.overlap(r.UIDBase, r.UIDCount); taken {
		return api.Errorf(api.KindConflict, "the uids for VMs, %s, overlap those of %s", r.uids(), s.who).
			WithHint("give that account other ids, or: sudo banger system uninstall; sudo banger system install --owner %s", r.Owner)
	}
	return nil
}

func (r Record) uids() string { return fmt.Sprintf("%d to %d", r.UIDBase, r.UIDBase+r.UIDCount-1) }

// HasGroup reports whether the machine has a group of that name.
func (a Accounts) HasGroup(name string) bool {
	for line := range bytes.Lines(a.Group) {
		if bytes.HasPrefix(line, []byte(name+":")) {
			return true
		}
	}
	return false
}
