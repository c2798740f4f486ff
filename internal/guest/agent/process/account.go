package process

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/guest/agentproto"
	"banger/internal/host/fsx"
)

const (
	// maxID is the highest user or group id: the one above it means "leave as it is"
	// (setresuid(2)).
	maxID = 1<<32 - 2
	// maxGroups is how many supplementary groups a process can have (NGROUPS_MAX,
	// setgroups(2)).
	maxGroups = 65536
	// maxAccounts is how much of a guest's /etc/passwd and /etc/group is read.
	maxAccounts = 16 << 20
)

// guest is the file system in which programs, users and their homes are found.
type guest struct {
	root string // of a fake guest; empty in a guest
}

// Account is the user that a program runs as, from /etc/passwd and /etc/group.
type Account struct {
	Name        string // empty if the user id has none
	Home, Shell string
	Credential  *syscall.Credential // nil: as the agent, which is root
}

// account finds a user (Runner.Account).
func (g guest) account(spec string) (Account, error) {
	if spec == "" {
		return g.superuser(), nil
	}
	user, group, _ := strings.Cut(spec, ":")
	a, gid, err := g.user(user)
	if err != nil {
		return a, err
	}
	if group != "" {
		gid, err = g.group(group)
		a.Credential.Groups = []uint32{gid}
	} else {
		a.Credential.Groups, err = g.groupsOf(a.Name, gid)
	}
	a.Credential.Gid = gid
	// A process that may not change groups is an ordinary process that simulates a guest,
	// and its user simulates root.
	a.Credential.NoSetGroups = os.Geteuid() != 0
	if a.Credential.NoSetGroups && a.Credential.Uid == 0 {
		a.Credential = nil
	}
	return a, err
}

// superuser returns the first user with id 0, or the usual values if there is none.
func (g guest) superuser() Account {
	a, _, err := g.user("0")
	if err != nil || a.Name == "" {
		a = Account{Name: "root", Home: g.homeOf("/root")}
	}
	a.Credential = nil
	return a
}

// user finds a user by its id if it is a number, otherwise by its name.
func (g guest) user(user string) (a Account, gid uint32, err error) {
	uid, number, err := parse(user)
	if err != nil {
		return a, 0, err
	}
	found := false
	err = g.lines("passwd", func(f []string) bool { // passwd(5)
		if len(f) < 7 {
			return true
		}
		theirs, okUser := id(f[2])
		group, okGroup := id(f[3])
		if found = okUser && okGroup && (number && theirs == uid || !number && f[0] == user); found {
			a, uid, gid = Account{Name: f[0], Home: cmp.Or(f[5], "/"), Shell: f[6]}, theirs, group
		}
		return !found
	})
	switch {
	case err != nil:
		return a, 0, err
	case !found && user == "root": // exists even without an /etc/passwd
		a, uid, gid = g.superuser(), 0, 0
	case !found && !number:
		return a, 0, api.Errorf(api.KindInvalid, "cannot run as %.60q: the guest has no such user", user).
			WithHint(agentproto.HintUser)
	case !found:
		a.Home = "/"
	}
	a.Home = g.homeOf(a.Home)
	a.Credential = &syscall.Credential{Uid: uid}
	return a, gid, nil
}

// group finds a group by its id if it is a number, otherwise by its name.
func (g guest) group(group string) (uint32, error) {
	gid, number, err := parse(group)
	if number || err != nil {
		return gid, err
	}
	found := false
	err = g.lines("group", func(f []string) bool { // group(5)
		if len(f) >= 4 && f[0] == group {
			gid, found = id(f[2])
		}
		return !found
	})
	if err == nil && !found {
		err = api.Errorf(api.KindInvalid, "cannot run in group %.60q: the guest has no such group", group).
			WithHint(agentproto.HintGroup)
	}
	return gid, err
}

// groupsOf returns the groups of a user: its own first, as in initgroups(3).
func (g guest) groupsOf(name string, gid uint32) ([]uint32, error) {
	groups := []uint32{gid}
	if name == "" {
		return groups, nil
	}
	err := g.lines("group", func(f []string) bool {
		if len(f) >= 4 && slices.Contains(strings.Split(f[3], ","), name) {
			if more, ok := id(f[2]); ok && !slices.Contains(groups, more) {
				groups = append(groups, more)
			}
		}
		return len(groups) < maxGroups
	})
	return groups, err
}

// parse reads the user or group of a client: number is false if it is a name.
func parse(text string) (n uint32, number bool, err error) {
	if text == "" {
		return 0, false, api.Errorf(api.KindInvalid, "cannot run the command: the user's name is empty").
			WithHint(agentproto.HintUserForm)
	}
	if strings.Trim(text, "0123456789") != "" {
		return 0, false, nil
	}
	n, ok := id(text)
	if !ok {
		err = api.Errorf(api.KindInvalid, "cannot run as %.60q: the largest id is %d", text, uint32(maxID))
	}
	return n, true, err
}

// id reads a user or group id.
func id(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil && n <= maxID
}

// lines calls next with the fields of each line of a file in /etc, until it
// returns false. A missing file is an empty one.
func (g guest) lines(file string, next func(fields []string) bool) error {
	path := filepath.Join(cmp.Or(g.root, "/"), "etc", file)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // never waits for a FIFO's writer
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer f.Close()
		scanner := bufio.NewScanner(io.LimitReader(f, maxAccounts))
		scanner.Buffer(nil, maxAccounts) // a group's line can be long
		for scanner.Scan() {
			if !next(strings.Split(scanner.Text(), ":")) {
				return nil
			}
		}
		err = scanner.Err()
	}
	if err != nil {
		return api.Errorf(api.KindInvalid, "cannot read the guest's /etc/%s: %w", file, fsx.Cause(err))
	}
	return nil
}

// homeOf returns the path of a home directory: in a fake guest beneath its root, which
// replaces a missing one.
func (g guest) homeOf(home string) string {
	if g.root == "" {
		return home
	}
	path := filepath.Join(g.root, home)
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return g.root
	}
	return path
}
