package proc

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// maxRead bounds what is read of one file in /proc: a command line has at most
// 2 MiB unless the stack limit was raised (execve(2)), and ours are short.
const maxRead = 2 << 20

// table is a process table: /proc, or a directory that looks like it.
type table struct {
	root string
}

func (t table) read(pid int, name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(t.root, strconv.Itoa(pid), name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxRead))
}

func (t table) stat(pid int) (stat, error) {
	data, err := t.read(pid, "stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(data)
}

func (t table) cmdline(pid int) ([]string, error) {
	data, err := t.read(pid, "cmdline")
	if err != nil {
		return nil, err
	}
	return parseCmdline(data), nil
}

// bootID tells this boot of the host from all others (random(4)).
func (t table) bootID() (string, error) {
	data, err := os.ReadFile(filepath.Join(t.root, "sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("cannot read the host's boot id: %w", err)
	}
	return string(bytes.TrimSpace(data)), nil
}

// find returns the pids of uid's processes whose command line matches.
// Processes that vanish while it looks are passed over.
func (t table) find(uid int, match func(cmdline []string) bool) ([]int, error) {
	dir, err := os.Open(t.root)
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

func (t table) ownedBy(pid, uid int) bool {
	info, err := os.Stat(filepath.Join(t.root, strconv.Itoa(pid)))
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == uid
}
