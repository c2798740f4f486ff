package userns

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"banger/api"
	"banger/internal/host/execx"
)

// idRange is a line of subuid(5) or subgid(5).
type idRange struct{ start, count int64 }

// maps are the ids of a job; empty if no mapping is needed.
type maps struct {
	mapped     bool
	uid, gid   int
	uids, gids idRange
}

// leastIDs is the minimal number of ids for a root file system: nobody is 65534.
const leastIDs = 65534

func idMaps() (maps, error) {
	m := maps{uid: os.Geteuid(), gid: os.Getegid()}
	if m.uid == 0 {
		return m, nil
	}
	m.mapped = true
	if _, err := execx.LookPath("newuidmap", "uidmap"); err != nil {
		return m, err
	}
	names := []string{strconv.Itoa(m.uid)}
	login := names[0]
	if u, err := user.LookupId(names[0]); err == nil {
		login = u.Username
		names = append(names, login)
	}
	var ok1, ok2 bool
	m.uids, ok1 = findRange("/etc/subuid", names)
	m.gids, ok2 = findRange("/etc/subgid", names)
	if !ok1 || !ok2 {
		return m, api.Errorf(api.KindUnsupported, "user %s has no subordinate user and group ids, which are needed for files of other owners", login).
			WithHint("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s", login)
	}
	return m, nil
}

func findRange(file string, names []string) (idRange, bool) {
	f, err := os.Open(file)
	if err != nil {
		return idRange{}, false
	}
	defer f.Close()
	return parseRanges(f, names)
}

// parseRanges returns the largest range that belongs to one of the names.
func parseRanges(r io.Reader, names []string) (idRange, bool) {
	var best idRange
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(f) != 3 || !contains(names, f[0]) {
			continue
		}
		start, err1 := strconv.ParseInt(f[1], 10, 64)
		count, err2 := strconv.ParseInt(f[2], 10, 64)
		if err1 == nil && err2 == nil && start > 0 && count > best.count && start+count < 1<<32 {
			best = idRange{start, count}
		}
	}
	return best, best.count >= leastIDs
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

func (m maps) flags() uintptr {
	flags := uintptr(syscall.CLONE_NEWNS | syscall.CLONE_NEWPID)
	if m.mapped {
		flags |= syscall.CLONE_NEWUSER
	}
	return flags
}

// apply maps the caller to root and the subordinate ids to the other ids
// (newuidmap(1)), in a process that waits for it.
func (m maps) apply(ctx context.Context, pid int) error {
	if !m.mapped {
		return nil
	}
	for _, tool := range []struct {
		name string
		own  int
		ids  idRange
	}{{"newuidmap", m.uid, m.uids}, {"newgidmap", m.gid, m.gids}} {
		var args []string
		for _, n := range []int64{int64(pid), 0, int64(tool.own), 1, 1, tool.ids.start, tool.ids.count} {
			args = append(args, strconv.FormatInt(n, 10))
		}
		if err := execx.Run(ctx, execx.Cmd{Name: tool.name, Args: args, Package: "uidmap"}); err != nil {
			return api.Errorf(api.KindUnsupported, "cannot map your subordinate ids: %w", err).
				WithHint("check your lines in /etc/subuid and /etc/subgid")
		}
	}
	return nil
}
