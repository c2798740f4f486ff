package proc

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// maxRead bounds what is read of one file in /proc: a command line has at most
// 2 MiB unless the stack limit was raised (execve(2)), and ours are short.
const maxRead = 2 << 20

// Table is a process table: /proc, or a directory that looks like it.
type Table struct {
	Root string
}

// Read returns a file of the process that has the pid now, of which at most
// 2 MiB are read.
func (t Table) Read(pid int, name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(t.Root, strconv.Itoa(pid), name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxRead))
}

func (t Table) stat(pid int) (stat, error) {
	data, err := t.Read(pid, "stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(data)
}

// identity tells the process that has the pid now from all others, or says ErrGone.
func (t Table) identity(pid int) (Identity, error) {
	boot, err := t.bootID()
	if err != nil {
		return Identity{}, err
	}
	st, err := t.stat(pid)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		err = ErrGone
	}
	return Identity{PID: pid, StartTime: st.startTime, BootID: boot}, err
}

// reaped is the pid of a process that has none any more (pidfd_show_fdinfo in the
// kernel's fs/pidfs.c).
const reaped = -1

// pidOf returns the pid of what a pidfd of this process's holds, or reaped.
func (t Table) pidOf(fd int) (int, error) {
	data, err := os.ReadFile(filepath.Join(t.Root, "self/fdinfo", strconv.Itoa(fd)))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		if rest, ok := bytes.CutPrefix(line, []byte("Pid:")); ok {
			return strconv.Atoi(string(bytes.TrimSpace(rest)))
		}
	}
	return 0, fmt.Errorf("descriptor %d is no pidfd", fd)
}

func (t Table) cmdline(pid int) ([]string, error) {
	data, err := t.Read(pid, "cmdline")
	if err != nil {
		return nil, err
	}
	return parseCmdline(data), nil
}

// bootID tells this boot of the host from all others (random(4)).
func (t Table) bootID() (string, error) {
	data, err := os.ReadFile(filepath.Join(t.Root, "sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("cannot read the host's boot id: %w", err)
	}
	return string(bytes.TrimSpace(data)), nil
}

// Newest returns the pids of everybody's processes whose command line matches,
// the one that started last first, as pgrep(1) chooses with -n: of two that
// started in the same clock tick, the higher pid. This process is left out.
func (t Table) Newest(match func(cmdline []string) bool) ([]int, error) {
	pids, err := t.find(anybody, match)
	started := map[int]uint64{}
	pids = slices.DeleteFunc(pids, func(pid int) bool {
		st, err := t.stat(pid)
		started[pid] = st.startTime
		return err != nil || pid == os.Getpid()
	})
	slices.SortFunc(pids, func(a, b int) int {
		return cmp.Or(cmp.Compare(started[b], started[a]), cmp.Compare(b, a))
	})
	return pids, err
}

// anybody is the uid that means every user's processes to find.
const anybody = -1

// find returns the pids of uid's processes whose command line matches.
// Processes that vanish while it looks are passed over.
func (t Table) find(uid int, match func(cmdline []string) bool) ([]int, error) {
	dir, err := os.Open(t.Root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var found []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid <= 0 || !t.ownedBy(pid, uid) {
			continue
		}
		if args, err := t.cmdline(pid); err == nil && len(args) > 0 && match(args) {
			found = append(found, pid)
		}
	}
	return found, nil
}

func (t Table) ownedBy(pid, uid int) bool {
	if uid == anybody {
		return true
	}
	info, err := os.Stat(filepath.Join(t.Root, strconv.Itoa(pid)))
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == uid
}
