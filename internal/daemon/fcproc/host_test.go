package fcproc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"banger/internal/host/proc"
)

const vm = "0123456789ab"

// sleeper is the path of a static program that waits for its standard input to
// end. Names for it are hard links: a program that is written cannot be run.
var sleeper string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "fcproc")
	if err != nil {
		panic(err)
	}
	sleeper = filepath.Join(dir, "sleeper")
	build := exec.Command("go", "build", "-o", sleeper, "./testdata/sleeper")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, out))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// vmUID is what VMMs run as here: root can give them a uid of their own.
func vmUID() int {
	if os.Getuid() == 0 {
		return 65534
	}
	return os.Getuid()
}

// fixture is a host with one jail. Its processes are real ones, seen through a
// copy of /proc that says what a test wants of their cgroup.
type fixture struct {
	*testing.T
	Host
	jail   string
	socket string // the host-side symlink to the socket in the jail
}

func newFixture(t *testing.T) *fixture {
	w := &fixture{T: t, Host: Host{Proc: t.TempDir(), Cgroup: t.TempDir()}, jail: t.TempDir()}
	w.check(os.Chmod(w.jail, 0o755))
	w.socket = filepath.Join(t.TempDir(), "firecracker.sock")
	w.check(os.Symlink(filepath.Join(w.jail, "api.sock"), w.socket))
	return w
}

func (w *fixture) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// vmm says how a process differs from the VM's VMM.
type vmm struct {
	name, jail, cgroup string
	uid                int
	args               []string
}

// start starts a process and enters it into the fixture's /proc.
func (w *fixture) start(v vmm) *exec.Cmd {
	w.Helper()
	if v.name == "" {
		v.name = Firecracker
	}
	if v.jail == "" {
		v.jail = w.jail
	}
	if v.cgroup == "" {
		v.cgroup = Cgroup(vm)
	}
	path := filepath.Join(v.jail, v.name)
	if err := os.Link(sleeper, path); err != nil && !os.IsExist(err) {
		w.Fatal(err)
	}
	cmd := exec.Command(path, v.args...)
	root := v.jail
	if os.Getuid() == 0 {
		if v.uid == 0 {
			v.uid = vmUID()
		}
		cmd.Path = "/" + v.name
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: v.jail, Credential: &syscall.Credential{Uid: uint32(v.uid), Gid: uint32(v.uid)}}
		root = ""
	}
	stdin, err := cmd.StdinPipe()
	w.check(err)
	w.check(cmd.Start())
	w.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	w.enter(cmd.Process.Pid, v.cgroup, root)
	return cmd
}

// enter makes the process's directory in the fixture's /proc: links to the real
// files, save for its cgroup and, if given, its root directory.
func (w *fixture) enter(pid int, cgroup, root string) {
	w.Helper()
	dir := filepath.Join(w.Proc, strconv.Itoa(pid))
	w.check(os.Mkdir(dir, 0o755))
	for _, name := range []string{"cmdline", "comm", "stat", "status", "root", "task"} {
		target := filepath.Join("/proc", strconv.Itoa(pid), name)
		if name == "root" && root != "" {
			target = root
		}
		w.check(os.Symlink(target, filepath.Join(dir, name)))
	}
	w.check(os.WriteFile(filepath.Join(dir, "cgroup"), []byte("0::"+cgroup+"\n"), 0o600))
}

// pidfile writes the jail's pidfile.
func (w *fixture) pidfile(content string) {
	w.Helper()
	w.check(os.WriteFile(filepath.Join(w.jail, pidfile), []byte(content), 0o600))
}

// inCgroup writes the list of a cgroup's processes.
func (w *fixture) inCgroup(cgroup string, pids ...int) {
	w.Helper()
	w.check(os.MkdirAll(filepath.Join(w.Cgroup, cgroup), 0o755))
	text := ""
	for _, pid := range pids {
		text += strconv.Itoa(pid) + "\n"
	}
	w.check(os.WriteFile(filepath.Join(w.Cgroup, cgroup, "cgroup.procs"), []byte(text), 0o600))
}

// query asks for the VM's VMM.
func (w *fixture) query() Query {
	w.Helper()
	root, err := os.Open(w.jail)
	w.check(err)
	w.Cleanup(func() { root.Close() })
	return Query{ID: vm, Name: Firecracker, UID: uint32(vmUID()), Root: root}
}

func identity(t *testing.T, pid int) proc.Identity {
	t.Helper()
	p, err := proc.Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	return p.Identity()
}
