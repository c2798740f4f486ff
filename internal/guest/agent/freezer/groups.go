package freezer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/guest/agentproto"
)

// The files of a cgroup.
const (
	freezeFile = "cgroup.freeze"
	eventsFile = "cgroup.events"
	procsFile  = "cgroup.procs"
)

// maxGroups is how many cgroups a guest may have, so that a survey ends.
const maxGroups = 20_000

// survey is what has to stop: whole groups, which include those in them, and processes that are in
// a group with one that has to continue.
type survey struct {
	groups    []group
	strays    []process
	processes int      // in groups
	populated []string // those of the groups that have processes
}

type group struct {
	path   string // below the root, such as system.slice
	frozen bool   // somebody in the guest has frozen it
}

type process struct {
	pid   int
	group string
}

// left returns the processes that could not be moved.
func (f *Freezer) left(s survey, r *record) []agentproto.Process {
	var left []agentproto.Process
	for _, p := range s.strays {
		if r.Moved[p.pid] != "" && len(left) < agentproto.MaxListed {
			name, _ := f.status(p.pid)
			left = append(left, agentproto.Process{PID: p.pid, Name: name})
		}
	}
	return left
}

// node is a cgroup and those in it.
type node struct {
	group
	pids     []int
	children []*node
	keeps    bool // it, or one in it, has a process that has to continue
}

// survey finds what has to stop, besides the groups in done and all that is in them.
func (f *Freezer) survey(done []string) (survey, error) {
	root, err := f.read(".", done, new(int))
	if err != nil {
		return survey{}, err
	}
	var s survey
	f.sort(root, true, &s)
	return s, nil
}

// read reads a group and those in it, except those in skip.
func (f *Freezer) read(dir string, skip []string, count *int) (*node, error) {
	if *count++; *count > maxGroups {
		return nil, fmt.Errorf("it has more than %d cgroups", maxGroups)
	}
	n := &node{group: group{path: dir}}
	procs, err := f.root.ReadFile(path.Join(dir, procsFile))
	if gone(err) || errors.Is(err, syscall.EOPNOTSUPP) { // in a threaded group: those above it have its processes
		err = nil
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(procs)) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil {
			n.pids = append(n.pids, pid)
			n.keeps = n.keeps || slices.Contains(f.o.Keep, pid)
		}
	}
	entries, err := fs.ReadDir(f.root.FS(), dir)
	if err != nil && !gone(err) {
		return nil, err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if !e.IsDir() || slices.Contains(skip, name) {
			continue
		}
		child, err := f.read(name, skip, count)
		if err != nil {
			return nil, err
		}
		n.children = append(n.children, child)
		n.keeps = n.keeps || child.keeps
	}
	return n, nil
}

// gone reports whether an error means that a group was removed meanwhile.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV)
}

// sort adds the highest groups that may stop, and the processes of those that must not.
func (f *Freezer) sort(n *node, isRoot bool, s *survey) {
	if !isRoot && !n.keeps {
		n.frozen = f.isSet(n.path)
		s.groups = append(s.groups, n.group)
		if all := n.count(); all > 0 {
			s.processes += all
			s.populated = append(s.populated, n.path)
		}
		return
	}
	for _, pid := range n.pids {
		if !slices.Contains(f.o.Keep, pid) && f.isProgram(pid) {
			s.strays = append(s.strays, process{pid, n.path})
		}
	}
	for _, child := range n.children {
		f.sort(child, false, s)
	}
}

func (n *node) count() int {
	all := len(n.pids)
	for _, child := range n.children {
		all += child.count()
	}
	return all
}

// isProgram reports whether a process runs a program: neither a thread of the kernel does, nor one
// that has ended (proc_pid_exe(5)).
func (f *Freezer) isProgram(pid int) bool {
	_, err := os.Readlink(filepath.Join(f.o.Proc, strconv.Itoa(pid), "exe"))
	return err == nil
}

// isSet reports whether a group is to be frozen.
func (f *Freezer) isSet(dir string) bool {
	text, err := f.root.ReadFile(path.Join(dir, freezeFile))
	return err == nil && strings.TrimSpace(string(text)) == "1"
}

// set freezes or thaws a group. One that is gone is neither.
func (f *Freezer) set(dir string, frozen bool) error {
	value := "0"
	if frozen {
		value = "1"
	}
	if err := f.put(path.Join(dir, freezeFile), value); err != nil && !gone(err) {
		return err
	}
	return nil
}

// put writes to a file of a cgroup.
func (f *Freezer) put(name, value string) error {
	file, err := f.root.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(value)
	return errors.Join(err, file.Close())
}

// move moves a process, with all its threads, to a group. It may have ended.
func (f *Freezer) move(pid int, dir string) bool {
	return f.put(path.Join(dir, procsFile), strconv.Itoa(pid)) == nil
}

// newest names some of what has appeared in the last round.
func (f *Freezer) newest(groups []group, strays []process) string {
	var names []string
	for _, g := range groups {
		names = append(names, g.path)
	}
	for _, p := range strays {
		name, _ := f.status(p.pid)
		names = append(names, fmt.Sprintf("%s (process %d)", name, p.pid))
	}
	return strings.Join(names[:min(len(names), 3)], ", ")
}

func (f *Freezer) makeOutside() error {
	if err := f.root.Mkdir(outside, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// await waits until every process of a group has stopped.
func (f *Freezer) await(ctx context.Context, dir string) error {
	file, err := f.root.Open(path.Join(dir, eventsFile))
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	for {
		text := make([]byte, 256)
		n, err := file.ReadAt(text, 0)
		switch {
		case gone(err):
			return nil
		case err != nil && err != io.EOF:
			return err
		case bytes.Contains(text[:n], []byte("frozen 1")):
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s did not stop within %v%s", dir, f.o.Limit, f.blame(dir))
		}
		// A change wakes it (cgroup-v2.rst); the time bounds only how late ctx is noticed.
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(file.Fd()), Events: unix.POLLPRI}}, int(wakeAfter.Milliseconds()))
	}
}

const wakeAfter = 50 * time.Millisecond

// blame names processes of a group that do not stop: those that wait for a device.
func (f *Freezer) blame(dir string) string {
	var names []string
	n, err := f.read(dir, nil, new(int))
	if err != nil {
		return ""
	}
	for _, pid := range n.all(nil) {
		name, state := f.status(pid)
		if state != 'D' {
			continue
		}
		if names = append(names, fmt.Sprintf("%s (process %d)", name, pid)); len(names) == 3 {
			break
		}
	}
	if len(names) == 0 {
		return ""
	}
	return ": waiting in the kernel: " + strings.Join(names, ", ")
}

// status returns the name and the state of a process from proc_pid_stat(5), where any character may
// be in the name: "123 (name) D …".
func (f *Freezer) status(pid int) (name string, state byte) {
	stat, _ := os.ReadFile(filepath.Join(f.o.Proc, strconv.Itoa(pid), "stat"))
	_, rest, _ := strings.Cut(string(stat), " (")
	end := strings.LastIndex(rest, ") ")
	if end < 0 || len(rest) < end+3 {
		return "", 0
	}
	return rest[:end], rest[end+2]
}

func (n *node) all(pids []int) []int {
	pids = append(pids, n.pids...)
	for _, child := range n.children {
		pids = child.all(pids)
	}
	return pids
}

// release thaws all that a record has, and puts back what was moved.
func (f *Freezer) release(r record) error {
	var errs []error
	if f.fake {
		return os.Remove(f.o.Record)
	}
	if n, err := f.read(outside, nil, new(int)); err == nil {
		for _, pid := range n.pids {
			back := r.Moved[pid]
			if back == "" { // a child of one
				back = "."
			}
			f.move(pid, back)
		}
	}
	for _, dir := range slices.Backward(r.Groups) {
		errs = append(errs, f.set(dir, false))
	}
	_ = f.root.Remove(outside) // a process that could not be put back stays in it
	if f.o.Record != "" {
		if err := os.Remove(f.o.Record); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
