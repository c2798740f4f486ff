package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hostileEnv has the test's program be a process that makes trouble; the value says how.
const hostileEnv = "BANGER_TEST_HOSTILE"

// hostiles are the ways. Each says "ready" and goes on until its standard input ends.
var hostiles = map[string]func() error{
	"nuls":             func() error { return scribble(func(args []byte) { clear(args) }) },
	"no NUL":           func() error { return scribble(func(args []byte) { copy(args, bytes.Repeat([]byte("x"), len(args))) }) },
	"changes":          changeForEver,
	"first thread end": endFirstThread,
}

func init() {
	if os.Getenv(hostileEnv) != "" {
		runtime.LockOSThread() // main is to be the first thread
	}
}

// scribble overwrites this process's command line, and waits.
func scribble(change func(args []byte)) error {
	write, args, err := ownArgs()
	if err == nil {
		change(args)
		err = write(args)
	}
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// ownArgs returns what is in the memory of this process's command line, and what
// writes it.
func ownArgs() (write func([]byte) error, args []byte, err error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return nil, nil, err
	}
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const argStart, argEnd = 48 - 3, 49 - 3 // proc_pid_stat(5)
	start, err1 := strconv.ParseInt(string(f[argStart]), 10, 64)
	end, err2 := strconv.ParseInt(string(f[argEnd]), 10, 64)
	mem, err3 := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, nil, err
	}
	args = make([]byte, end-start)
	_, err = mem.ReadAt(args, start)
	return func(b []byte) error {
		_, err := mem.WriteAt(b, start)
		return err
	}, args, err
}

// changeForEver says one thing, and then another.
func changeForEver() error {
	write, args, err := ownArgs()
	if err != nil {
		return err
	}
	other := bytes.ReplaceAll(args, []byte("aaaa"), []byte("b\x00\x00b"))
	go func() {
		for write(args) == nil && write(other) == nil {
		}
	}()
	return scribble(func([]byte) {})
}

// endFirstThread ends this process's first thread, while another goes on.
func endFirstThread() error {
	fmt.Println("ready")
	started := make(chan bool)
	go func() {
		runtime.LockOSThread()
		close(started)
		var b [1]byte
		_, _, _ = unix.RawSyscall(unix.SYS_READ, 0, uintptr(unsafe.Pointer(&b)), 1)
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}()
	<-started
	_, _, errno := unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
	return errno
}

// hostile starts such a process with further arguments.
func hostile(t *testing.T, how string, args ...string) *Process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = []string{hostileEnv + "=" + how, "GOMAXPROCS=4"}
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	word := make([]byte, len("ready"))
	if _, err := io.ReadFull(stdout, word); err != nil || string(word) != "ready" {
		t.Fatal(string(word), err)
	}
	p, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// allocated is how many bytes do allocates, in sum.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// huge are arguments of 1.8 MiB in sum; 2 MiB is the most (execve(2)).
func huge() []string { return slices.Repeat([]string{strings.Repeat("x", 131000)}, 14) }

// TestHugeCommandLines: what a look at all processes costs does not depend on how long
// they let their command lines be.
func TestHugeCommandLines(t *testing.T) {
	for range 3 {
		hostile(t, "nuls", huge()...)
	}
	unended := hostile(t, "no NUL", huge()...)
	processes := uint64(0)
	if err := host.Each(t.Context(), func(int) { processes++ }); err != nil {
		t.Fatal(err)
	}
	// The paths and the open files of each process, and one buffer.
	most := 1<<20 + processes*4096
	longest := 0
	for name, look := range map[string]func() error{
		"newest": func() error {
			_, err := host.Newest(t.Context(), func(cmdline []byte) bool {
				longest = max(longest, len(cmdline))
				return bytes.Contains(cmdline, []byte("no such text"))
			})
			return err
		},
		"find": func() error {
			_, err := Find(t.Context(), func(args []string) bool {
				return len(args) > 0 && args[0] == "no such text"
			})
			return err
		},
		"one": func() error {
			_, err := unended.Cmdline()
			return err
		},
	} {
		var err error
		if got := allocated(func() { err = look() }); err != nil || got > most {
			t.Errorf("%s: allocated %d bytes for %d processes, more than %d; %v", name, got, processes, most, err)
		}
	}
	if longest != MaxCmdline {
		t.Errorf("the longest command line that was looked at has %d bytes", longest)
	}
}

// TestAProcessChangesItsCommandLine: whatever it says at which look, it is found or
// not, and held where it is.
func TestAProcessChangesItsCommandLine(t *testing.T) {
	const text = "aaaa-a-command-line-that-changes"
	p := hostile(t, "changes", text)
	is := func(args []string) bool { return slices.Contains(args, text) }
	found := 0
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && found < 20; {
		all, err := Find(t.Context(), is)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.Identity() != p.Identity() {
				t.Errorf("found %+v, not %+v", f.Identity(), p.Identity())
			}
			found++
			f.Close()
		}
	}
	if found == 0 {
		t.Error("never found")
	}
}

// TestFirstThreadHasEnded: the process runs, and its own directory says nothing.
func TestFirstThreadHasEnded(t *testing.T) {
	p := hostile(t, "first thread end", "its-argument")
	cmdline := filepath.Join("/proc", strconv.Itoa(p.PID()), "cmdline")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if data, err := os.ReadFile(cmdline); err == nil && len(data) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("its first thread does not end")
		}
	}
	if args, err := p.Cmdline(); err != nil || !slices.Contains(args, "its-argument") {
		t.Errorf("%q, %v", args, err)
	}
	if p.Ended() {
		t.Error("it runs, and is said to have ended")
	}
}

func TestScansEndWithTheirContext(t *testing.T) {
	processes := map[int]map[string]string{}
	for pid := range 2 * batch {
		processes[pid+1] = map[string]string{"cmdline": "a\x00", "stat": statLine("x")}
	}
	table := fakeTable(t, processes)
	given := errors.New("given up")
	for after := range 3 {
		for name, scan := range map[string]func(ctx context.Context, look func()) error{
			"newest": func(ctx context.Context, look func()) error {
				_, err := table.Newest(ctx, func([]byte) bool { look(); return true })
				return err
			},
			"find": func(ctx context.Context, look func()) error {
				_, err := table.find(ctx, os.Getuid(), func([]string) bool { look(); return true })
				return err
			},
			"each": func(ctx context.Context, look func()) error { return table.Each(ctx, func(int) { look() }) },
		} {
			ctx, cancel := context.WithCancelCause(t.Context())
			looked := 0
			if after == 0 {
				cancel(given)
			}
			err := scan(ctx, func() {
				if looked++; looked == after {
					cancel(given)
				}
			})
			if !errors.Is(err, given) || looked != after {
				t.Errorf("%s, given up after %d: looked at %d, %v", name, after, looked, err)
			}
		}
	}
	looked := 0
	if err := table.Each(t.Context(), func(int) { looked++ }); err != nil || looked != len(processes) {
		t.Errorf("looked at %d of %d, %v", looked, len(processes), err)
	}
}

// TestFindSaysWhatItCannotHold: a process that could not be held is not one that is
// not there.
func TestFindSaysWhatItCannotHold(t *testing.T) {
	const script = "kill -STOP $$ # one of several"
	for range 6 {
		spawn(t, script)
	}
	is := func(args []string) bool { return len(args) == 3 && args[2] == script }
	before := openFiles(t)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	for free := range 6 {
		few := old
		few.Cur = limitFor(before, free)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
			t.Fatal(err)
		}
		found, err := Find(t.Context(), is)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(err, unix.EMFILE) || errors.Is(err, ErrGone) || len(found) != 0 {
			t.Errorf("room for %d descriptors: %d found, %v", free, len(found), err)
		}
	}
	if after := openFiles(t); len(after) != len(before) {
		t.Errorf("%d descriptors are open, %d were", len(after), len(before))
	}
}

// openFiles are the numbers of the open descriptors.
func openFiles(t *testing.T) (open []int) {
	t.Helper()
	if err := numbered(t.Context(), "/proc/self/fd", func(fd int) bool {
		open = append(open, fd)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return open
}

// limitFor is the limit below which as many numbers are free.
func limitFor(open []int, free int) uint64 {
	limit := 1
	for ; free > 0; limit++ {
		if !slices.Contains(open, limit) {
			free--
		}
	}
	return uint64(limit)
}
