package agent

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

// account is the user that a command runs as, from /etc/passwd and /etc/group.
type account struct {
	name        string // empty if the user id has none
	home, shell string
	credential  *syscall.Credential // nil: as the agent, which is root
}

// account finds the user that a client names: "name", "uid", and either with
// ":group" or ":gid"; empty is root. As in containers, a number need not be in
// /etc/passwd, and an explicit group is the only one the command has.
func (s *server) account(spec string) (account, error) {
	if spec == "" {
		return s.root(), nil
	}
	user, group, _ := strings.Cut(spec, ":")
	a, gid, err := s.user(user)
	if err != nil {
		return a, err
	}
	if group != "" {
		gid, err = s.group(group)
		a.credential.Groups = []uint32{gid}
	} else {
		a.credential.Groups, err = s.groupsOf(a.name, gid)
	}
	a.credential.Gid = gid
	// A process that may not change groups is an ordinary process that simulates a guest,
	// and its user simulates root.
	a.credential.NoSetGroups = os.Geteuid() != 0
	if a.credential.NoSetGroups && a.credential.Uid == 0 {
		a.credential = nil
	}
	return a, err
}

// root returns the first user with id 0, or the usual values if there is none.
func (s *server) root() account {
	a, _, err := s.user("0")
	if err != nil || a.name == "" {
		a = account{name: "root", home: s.homeOf("/root")}
	}
	a.credential = nil
	return a
}

// user finds a user by its id if it is a number, otherwise by its name.
func (s *server) user(user string) (a account, gid uint32, err error) {
	uid, number, err := parse(user)
	if err != nil {
		return a, 0, err
	}
	found := false
	err = s.lines("passwd", func(f []string) bool { // passwd(5)
		if len(f) < 7 {
			return true
		}
		theirs, okUser := id(f[2])
		group, okGroup := id(f[3])
		if found = okUser && okGroup && (number && theirs == uid || !number && f[0] == user); found {
			a, uid, gid = account{name: f[0], home: cmp.Or(f[5], "/"), shell: f[6]}, theirs, group
		}
		return !found
	})
	switch {
	case err != nil:
		return a, 0, err
	case !found && user == "root": // exists even without an /etc/passwd
		a, uid, gid = s.root(), 0, 0
	case !found && !number:
		return a, 0, api.Errorf(api.KindInvalid, "cannot run as %.60q: the guest has no such user", user).
			WithHint(agentproto.HintUser)
	case !found:
		a.home = "/"
	}
	a.home = s.homeOf(a.home)
	a.credential = &syscall.Credential{Uid: uid}
	return a, gid, nil
}

// group finds a group by its id if it is a number, otherwise by its name.
func (s *server) group(group string) (uint32, error) {
	gid, number, err := parse(group)
	if number || err != nil {
		return gid, err
	}
	found := false
	err = s.lines("group", func(f []string) bool { // group(5)
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
func (s *server) groupsOf(name string, gid uint32) ([]uint32, error) {
	groups := []uint32{gid}
	if name == "" {
		return groups, nil
	}
	err := s.lines("group", func(f []string) bool {
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
func (s *server) lines(file string, next func(fields []string) bool) error {
	path := filepath.Join(cmp.Or(s.Root, "/"), "etc", file)
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
		return api.Errorf(api.KindInvalid, "cannot read the guest's /etc/%s: %w", file, cause(err))
	}
	return nil
}

// homeOf returns the path of a home directory: in a fake guest beneath its root, which
// replaces a missing one.
func (s *server) homeOf(home string) string {
	if s.Root == "" {
		return home
	}
	path := filepath.Join(s.Root, home)
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return s.Root
	}
	return path
}
