// Package synctest makes fsync(2) fail in tests: the kernel asks this process before
// each call (seccomp_unotify(2)). So each fsync of this process and its children is
// seen, and the tested code needs no changes.
package synctest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// Faults makes the syncs below a directory fail.
type Faults struct {
	mu    sync.Mutex
	seen  []string
	at    int // the index in seen of the sync that fails; negative: none
	errno syscall.Errno
}

// Below returns the faults of a directory, initially none, until the test ends. It
// skips the test if the kernel does not support it.
func Below(t testing.TB, dir string) *Faults {
	t.Helper()
	// Other users have to give up setuid programs for a filter (seccomp(2), EACCES),
	// permanently, and so newuidmap(1).
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: a failing fsync: only root filters system calls and keeps setuid programs")
	}
	if err := install(); err != nil {
		t.Skipf("NOT TESTED: a failing fsync: %v", err)
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := &Faults{at: -1}
	all.Store(dir, f)
	t.Cleanup(func() { all.Delete(dir) })
	return f
}

// Fail makes the nth sync from now on, counted from 0, fail with an error number; all
// others succeed. With a negative n none fails. A successful sync is not executed: that
// takes time, and no test cuts the power.
func (f *Faults) Fail(n int, errno syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen, f.at, f.errno = nil, n, errno
}

// FailAll makes every sync fail from now on.
func (f *Faults) FailAll(errno syscall.Errno) { f.Fail(everyone, errno) }

const everyone = math.MaxInt

// Seen returns the files and directories that were synced since the last Fail, in
// order.
func (f *Faults) Seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen)
}

func (f *Faults) decide(path string) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, path)
	if len(f.seen)-1 == f.at || f.at == everyone {
		return f.errno
	}
	return 0
}

var all sync.Map // of *Faults by directory

// decide asks the faults of path's directory; ours is false if there are none.
func decide(path string) (errno syscall.Errno, ours bool) {
	all.Range(func(dir, f any) bool {
		if ours = path == dir || strings.HasPrefix(path, dir.(string)+"/"); ours {
			errno = f.(*Faults).decide(path)
		}
		return !ours
	})
	return errno, ours
}

// Leak is an option of goleak for the goroutine that answers the kernel until the
// program ends.
var Leak = goleak.IgnoreAnyFunction("banger/internal/host/fsx/synctest.serve")

// install starts to filter all threads of this process, permanently.
var install = sync.OnceValue(func() error {
	const number = 0 // the offset of struct seccomp_data.nr (linux/seccomp.h)
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FSYNC, Jt: 1},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FDATASYNC, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	flags := unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	fd, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(&program)))
	if e != 0 {
		return fmt.Errorf("seccomp: %w", e)
	}
	go serve(fd)
	return nil
})

// notification is struct seccomp_notif (linux/seccomp.h).
type notification struct {
	id           uint64
	pid, flags   uint32
	number, arch uint32
	instruction  uint64
	args         [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	value int64
	err   int32
	flags uint32
}

func serve(fd uintptr) {
	for {
		var n notification
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); e != 0 {
			if e == unix.EINTR || e == unix.ENOENT { // the caller was killed
				continue
			}
			panic(e)
		}
		go answer(fd, n)
	}
}

func answer(fd uintptr, n notification) {
	r := response{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", n.pid, int32(n.args[0])))
	if err == nil {
		if e, ours := decide(strings.TrimSuffix(path, " (deleted)")); ours {
			r.err, r.flags = -int32(e), 0
		}
	}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
	if e != 0 && !errors.Is(e, unix.ENOENT) {
		panic(e)
	}
}

// most is more syncs than any caller makes.
const most = 500

// Errors are the errors of an fsync of a disk (fsync(2)).
var Errors = []syscall.Errno{syscall.EIO, syscall.ENOSPC}

// Each calls do with failing syncs: for each error, and for each sync that do makes,
// one at a time, until do makes no more. Before and after it, Each calls prepare and
// check; check gets do's error.
func (f *Faults) Each(t *testing.T, errors []syscall.Errno, prepare func(t *testing.T), do func() error, check func(t *testing.T, err error)) {
	t.Helper()
	for _, errno := range errors {
		reached := true
		for n := 0; reached && n < most; n++ {
			t.Run(fmt.Sprintf("sync %d %s", n, unix.ErrnoName(errno)), func(t *testing.T) {
				prepare(t)
				f.Fail(n, errno)
				err := do()
				seen := f.Seen()
				f.Fail(-1, 0)
				if reached = len(seen) > n; reached {
					t.Logf("%s failed: %v", seen[n], err)
				}
				check(t, err)
				reached = reached && !t.Failed()
			})
		}
	}
}

// Tree describes the content of a directory: names, sizes and contents, for a
// comparison. It leaves out names for which skip returns true.
func Tree(t testing.TB, dir string, skip func(name string) bool) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || skip != nil && skip(name) {
			return err
		}
		var sum [sha256.Size]byte
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum = sha256.Sum256(data)
		}
		fmt.Fprintf(&b, "%s %s %x\n", name, d.Type(), sum[:6])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
