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

// What is read about a process is chosen by the process, or by whoever started it: any user
// may have command lines of megabytes, and thousands of processes.
const (
	// maxRead bounds what is read of one file in /proc, in bytes. The used fields of a status
	// come before the groups, of which there may be 65536 (proc_pid_status(5)); a cgroup's
	// path has at most 4096 bytes.
	maxRead = 64 << 10
	// MaxCmdline is how many bytes of a command line are read. The command lines of banger's
	// own processes can be told from others by their beginning.
	MaxCmdline = 8 << 10
	// batch is how many names of a directory are in memory at once.
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

// Threads calls look with the directory of a process, and while look returns false with
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

// Each calls look with the pid of each process. It ends with ctx, and needs a constant
// amount of memory.
func (t Table) Each(ctx context.Context, look func(pid int)) error {
	return numbered(ctx, t.Root, func(pid int) bool {
		look(pid)
		return true
	})
}

// numbered calls look with the numbers among the names in a directory while look returns
// true. It holds few names at a time, however many there are, and ends with ctx.
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

// identity returns the identity of the process that has the pid now, or ErrGone.
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

// reaped is the pid that the kernel shows for a reaped process (pidfd_show_fdinfo in its
// fs/pidfs.c).
const reaped = -1

// pidOf returns the pid of the process that a pidfd of this process holds, or reaped.
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
	return 0, fmt.Errorf("descriptor %d is not a pidfd", fd)
}

// cmdline returns the arguments of the process that has the pid now, from at most the first
// MaxCmdline bytes.
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

// bootID returns the id of this boot of the host (random(4)).
func (t Table) bootID() (string, error) {
	data, err := os.ReadFile(filepath.Join(t.Root, "sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("cannot read the host's boot id: %w", err)
	}
	return string(bytes.TrimSpace(data)), nil
}

// Newest returns the pid of the process, of any user, whose command line matches and which
// started last, as pgrep(1) chooses with -n: of two that started in the same clock tick, the
// one with the higher pid. It returns 0 if there is none. This process is left out. match
// gets at most MaxCmdline bytes, and may change but not retain them.
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

// anybody is the uid that stands for the processes of all users.
const anybody = -1

// find returns the pids of uid's processes whose command line matches. match must not retain
// its argument.
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

// scan is Each for uid's processes that have a command line. It skips processes that end
// during the scan, or whose command line cannot be read, unless the fault is this process's
// own: then they may be among those to find.
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

// isOwn reports whether an error is about this process or the host, not about the process
// to be examined.
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
	return io.ReadFull(f, buf) // an early end is not an error of this process
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
