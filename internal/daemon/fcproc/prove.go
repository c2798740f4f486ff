package fcproc

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"banger/api"
	"banger/internal/host/proc"
)

// errHint means that a hint leads nowhere, or to a process that is not the VM's.
// Whoever wrote the hint can cause that, so it never stops a search.
var errHint = errors.New("not this VM's VMM")

// hintErr wraps errHint without its text.
type hintErr struct{ error }

func (hintErr) Is(target error) bool { return target == errHint }
func (e hintErr) Unwrap() error      { return e.error }

func hintError(format string, args ...any) error { return hintErr{fmt.Errorf(format, args...)} }

// kindOf distinguishes a process that does not exist from one that cannot be examined.
func kindOf(err error) api.Kind {
	if errors.Is(err, errHint) || errors.Is(err, proc.ErrGone) {
		return api.KindNotFound
	}
	return api.KindOf(err)
}

// check is one property that a VM's VMM must have.
type check struct {
	name  string
	holds func(h Host, pid int, q Query) error
}

// The checks, those first that need no privilege.
var (
	isNamed  = check{"name", hasName}
	isUser   = check{"user", hasUID}
	inCgroup = check{"cgroup", hasCgroup}
	isRooted = check{"root", hasRoot}
)

// exitTime bounds the wait for the end of a process that has lost its root directory.
const exitTime = 200 * time.Millisecond

// prove returns nil if all checks succeed for the process that p holds, ErrGone if it
// has ended, and an errHint if a check does not hold.
func (h Host) prove(p *proc.Process, q Query, checks ...check) error {
	err := h.run(p.PID(), q, checks)
	// A process that ends has no root directory for a moment before it counts as ended (exit_fs
	// and exit_notify in the kernel's do_exit).
	if errors.Is(err, os.ErrNotExist) {
		select {
		case <-p.Done():
		case <-time.After(exitTime):
		}
	}
	// What was read is p's only if p still has not ended.
	if p.Ended() {
		return fmt.Errorf("process %d: %w", p.PID(), proc.ErrGone)
	}
	return err
}

func (h Host) run(pid int, q Query, checks []check) error {
	for _, c := range checks {
		if err := c.holds(h, pid, q); err != nil {
			return fmt.Errorf("process %d: %s: %w", pid, c.name, err)
		}
	}
	return nil
}

// maxName is the length of a process's name: TASK_COMM_LEN less its NUL
// (proc_pid_comm(5)).
const maxName = 15

func hasName(h Host, pid int, q Query) error {
	if q.AnyName {
		return nil
	}
	data, err := h.table().Read(pid, "comm")
	if err != nil {
		return err
	}
	want := q.Name[:min(len(q.Name), maxName)]
	if got := strings.TrimSuffix(string(data), "\n"); got != want {
		return hintError("it is %q, not %q", got, want)
	}
	return nil
}

func hasUID(h Host, pid int, q Query) error {
	uids, err := h.uids(pid)
	if err != nil {
		return err
	}
	return sameUIDs(uids, q.UID)
}

// uids reads a process's user ids from its status (proc_pid_status(5)).
func (h Host) uids(pid int) ([]string, error) {
	data, err := h.table().Read(pid, "status")
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(data) {
		if rest, ok := bytes.CutPrefix(line, []byte("Uid:")); ok {
			return strings.Fields(string(rest)), nil
		}
	}
	return nil, errors.New("no uid in its status")
}

// sameUIDs compares the real, effective, saved and file system uid: a VMM that
// has dropped its privileges has one uid.
func sameUIDs(got []string, want uint32) error {
	text := strconv.FormatUint(uint64(want), 10)
	if len(got) != 4 {
		return fmt.Errorf("bad uids %.80q", got)
	}
	for _, uid := range got {
		if uid != text {
			return hintError("it is %s, not %s", strings.Join(got, "/"), text)
		}
	}
	return nil
}

func hasCgroup(h Host, pid int, q Query) error {
	data, err := h.table().Read(pid, "cgroup")
	if err != nil {
		return err
	}
	got, err := parseCgroup(data)
	if err != nil {
		return err
	}
	for _, want := range cgroups(q.ID) {
		if within(got, want) {
			return nil
		}
	}
	return hintError("it is %.200q, not %q", got, Cgroup(q.ID))
}

func hasRoot(h Host, pid int, q Query) error {
	want, err := q.Root.Stat()
	if err != nil {
		return err
	}
	got, err := h.rootOf(pid)
	if err != nil {
		return err
	}
	if !os.SameFile(want, got) {
		return hintError("it is not %s", q.Root.Name())
	}
	return nil
}

// rootOf opens a process's root directory. A first thread that has ended has none while others run
// (measured: ENOENT), so any thread's is used: a thread needs CAP_SYS_CHROOT to have a different one.
func (h Host) rootOf(pid int) (root os.FileInfo, err error) {
	var first error
	err = h.table().Threads(pid, func(dir string) bool {
		// The link is a magic one: it leads to the directory itself, whatever its
		// name is now (proc_pid_root(5)).
		root, err = os.Stat(filepath.Join(dir, "root") + "/.")
		first = cmp.Or(first, err)
		return !errors.Is(err, os.ErrNotExist)
	})
	if root != nil {
		return root, nil
	}
	return nil, cmp.Or(first, err)
}
