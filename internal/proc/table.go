package proc

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// What is read of a process is what the process, or whoever started it, chose: any
// user may have a command line of megabytes, and thousands of processes.
const (
	// maxRead bounds what is read of one file in /proc, in bytes. What is looked for
	// in a status comes before the groups, which may be 65536 (proc_pid_status(5));
	// a cgroup's path has at most 4096 bytes.
	maxRead = 64 << 10
	// MaxCmdline is how many bytes of a command line are looked at. What tells our own
	// processes from others comes first in theirs.
	MaxCmdline = 8 << 10
	// batch is how many names of a directory are held at once.
	batch = 256
)

// Table is a process table: /proc, or a directory that looks like it.
type Table struct {
	Root string
}

// Read returns a file of the process that has the pid now, of which at most
// 64 KiB are read.
func (t Table) Read(pid int, name string) ([]byte, error) {
	return read(filepath.Join(t.dir(pid), name), maxRead)
}

func (t Table) dir(pid int) string { return filepath.Join(t.Root, strconv.Itoa(pid)) }

func read(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// Threads calls look with the directory of a process, and while that says no with
// those of its threads. The first thread may have ended before the others: then the
// process's own directory has neither a command line nor a root directory any more.
func (t Table) Threads(pid int, look func(dir string) bool) error {
	if look(t.dir(pid)) {
		return nil
	}
	tasks := filepath.Join(t.dir(pid), "task")
	return numbered(context.Background(), tasks, func(tid int) bool {
		return !look(filepath.Join(tasks, strconv.Itoa(tid)))
	})
}

// Each calls look with the pid of each process. It ends with ctx, and needs no more
// memory for many processes than for few.
func (t Table) Each(ctx context.Context, look func(pid int)) error {
	return numbered(ctx, t.Root, func(pid int) bool {
		look(pid)
		return true
	})
}

// numbered calls look with the numbers among the names in a directory while it says
// yes. It holds few names at a time, however many there are, and ends with ctx.
func numbered(ctx context.Context, path string, look func(number int) bool) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(batch)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			number, err := strconv.Atoi(name)
			if err != nil || number <= 0 {
				continue
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !look(number) {
				return nil
			}
		}
	}
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

// cmdline returns the arguments of the process that has the pid now, of which the
// first MaxCmdline bytes are read.
func (t Table) cmdline(pid int) ([]string, error) {
	var args []string
	var first error
	err := t.Threads(pid, func(dir string) bool {
		data, err := read(filepath.Join(dir, "cmdline"), MaxCmdline)
		first = cmp.Or(first, err)
		args = parseCmdline(data, nil)
		return len(args) > 0
	})
	if len(args) > 0 {
		return args, nil
	}
	return nil, cmp.Or(first, err)
}

// bootID tells this boot of the host from all others (random(4)).
func (t Table) bootID() (string, error) {
	data, err := os.ReadFile(filepath.Join(t.Root, "sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("cannot read the host's boot id: %w", err)
	}
	return string(bytes.TrimSpace(data)), nil
}

// Newest returns the pid of that process, of everybody's, whose command line matches
// and which started last, as pgrep(1) chooses with -n: of two that started in the same
// clock tick, the higher pid. It is 0 where there is none. This process is left out.
// match gets at most MaxCmdline bytes, and may change but not keep them.
func (t Table) Newest(ctx context.Context, match func(cmdline []byte) bool) (int, error) {
	var newest int
	var started uint64
	err := t.scan(ctx, anybody, func(pid int, cmdline []byte) {
		if pid == os.Getpid() || !match(cmdline) {
			return
		}
		st, err := t.stat(pid)
		if err == nil && cmp.Or(cmp.Compare(st.startTime, started), cmp.Compare(pid, newest)) > 0 {
			newest, started = pid, st.startTime
		}
	})
	return newest, err
}

// anybody is the uid that means every user's processes to scan.
const anybody = -1

// find returns the pids of uid's processes whose command line matches. match must not
// keep its argument.
func (t Table) find(ctx context.Context, uid int, match func(cmdline []string) bool) ([]int, error) {
	var found []int
	var args []string
	err := t.scan(ctx, uid, func(pid int, cmdline []byte) {
		if args = parseCmdline(cmdline, args[:0]); match(args) {
			found = append(found, pid)
		}
	})
	return found, err
}

// scan is Each of uid's processes that have a command line. Processes that vanish
// meanwhile, or whose command line cannot be read, are passed over, unless the fault
// is this process's own: then they may be those that are looked for.
func (t Table) scan(ctx context.Context, uid int, look func(pid int, cmdline []byte)) error {
	buf := make([]byte, MaxCmdline)
	var fault error
	err := numbered(ctx, t.Root, func(pid int) bool {
		if !t.ownedBy(pid, uid) {
			return true
		}
		n, err := t.readCmdline(pid, buf)
		if isOwn(err) {
			fault = err
		} else if n > 0 {
			look(pid, buf[:n])
		}
		return fault == nil
	})
	return cmp.Or(fault, err)
}

// isOwn tells whether an error says something of this process or of the host, and
// nothing of the process that was to be looked at.
func isOwn(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// readCmdline reads as much of a command line as buf has room for.
func (t Table) readCmdline(pid int, buf []byte) (int, error) {
	f, err := os.Open(filepath.Join(t.dir(pid), "cmdline"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.ReadFull(f, buf) // an early end is an error that is not ours
}

func (t Table) ownedBy(pid, uid int) bool {
	if uid == anybody {
		return true
	}
	info, err := os.Stat(t.dir(pid))
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == uid
}
