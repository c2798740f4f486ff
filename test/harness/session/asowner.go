package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"banger/internal/host/fsx"
	"banger/internal/paths"
	"banger/internal/system/record"
)

// SystemEnv is set where the banger that is installed on this machine is there to
// be tested: all its VMs are deleted.
const SystemEnv = "BANGER_TEST_SYSTEM"

// rootEnv names the descriptor by which tests that run as the owner ask root.
const rootEnv = "BANGER_TEST_ROOT_FD"

// AsOwner runs the tests of this program as the owner of the installed banger, and
// does for them what only root may. TestMain calls it; it returns at once, with
// false, where this process is not root's or there is nothing to test.
func AsOwner() (status int, ran bool) {
	if os.Getenv(SystemEnv) == "" || os.Getenv(rootEnv) != "" || os.Geteuid() != 0 {
		return 0, false
	}
	status, err := asOwner()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot run the tests as the owner:", err)
		return 1, true
	}
	return status, true
}

func asOwner() (int, error) {
	owner, err := record.Read(paths.InstallRecord)
	if err != nil {
		return 0, err
	}
	scratch, err := os.MkdirTemp("/var/tmp", "banger-test-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(scratch)
	if err := os.Chown(scratch, owner.UID, owner.GID); err != nil {
		return 0, err
	}
	restore, err := keepConfig()
	if err != nil {
		return 0, err
	}
	ours, theirs, err := pair()
	if err != nil {
		return 0, err
	}
	defer ours.Close()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), rootEnv+"=3", "HOME="+owner.Home, "USER="+owner.Owner, "TMPDIR="+scratch, "BANGER_TEST_CACHE="+scratch)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{
		Uid: uint32(owner.UID), Gid: uint32(owner.GID), Groups: daemonGroups(),
	}}
	err = cmd.Start()
	theirs.Close()
	if err == nil {
		serveRoot(ours)
		err = cmd.Wait()
	}
	err = errors.Join(err, restore())
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// daemonGroups are the supplementary groups that bangerd.service has: QEMU's driver
// looks at /dev/kvm itself.
func daemonGroups() []uint32 {
	kvm, err := user.LookupGroup("kvm")
	if err != nil {
		return nil
	}
	id, err := strconv.ParseUint(kvm.Gid, 10, 32)
	if err != nil {
		return nil
	}
	return []uint32{uint32(id)}
}

// keepConfig returns what writes the configuration again as it is now, unless it
// is the same still.
func keepConfig() (restore func() error, err error) {
	file := paths.System().ConfigFile()
	before, err := os.ReadFile(file)
	absent := errors.Is(err, os.ErrNotExist)
	if err != nil && !absent {
		return nil, err
	}
	return func() error {
		now, err := os.ReadFile(file)
		switch {
		case absent && errors.Is(err, os.ErrNotExist), err == nil && string(now) == string(before) && !absent:
			return nil
		case absent:
			return errors.Join(os.Remove(file), restartDaemon())
		}
		return writeConfig(string(before))
	}, nil
}

func pair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "tests"), os.NewFile(uintptr(fds[1]), "root"), nil
}

// request is what tests ask of root.
type request struct {
	Kill   int     `json:"kill,omitempty"`   // a process to kill
	Config *string `json:"config,omitempty"` // the text of config.toml
}

// answer is root's; empty for success.
type answer struct{ Error string }

// serveRoot answers until the tests have ended.
func serveRoot(conn *os.File) {
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var r request
		if in.Decode(&r) != nil {
			return
		}
		var a answer
		if err := r.do(); err != nil {
			a.Error = err.Error()
		}
		if out.Encode(a) != nil {
			return
		}
	}
}

func (r request) do() error {
	if r.Config != nil {
		return writeConfig(*r.Config)
	}
	return unix.Kill(r.Kill, unix.SIGKILL)
}

// writeConfig writes the installation's configuration and restarts its daemon,
// which is ready when systemctl returns.
func writeConfig(text string) error {
	if err := fsx.WriteFile(paths.System().ConfigFile(), []byte(text), 0o644); err != nil {
		return err
	}
	return restartDaemon()
}

func restartDaemon() error {
	if out, err := exec.Command("systemctl", "restart", "bangerd.service").CombinedOutput(); err != nil {
		return fmt.Errorf("cannot restart bangerd: %w: %s", err, out)
	}
	return nil
}

// rootConn is the connection to the process that AsOwner left as root's; nil where
// there is none.
var rootConn = sync.OnceValue(func() *os.File {
	fd, err := strconv.Atoi(os.Getenv(rootEnv))
	if err != nil {
		return nil
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "root")
})

// askRoot has root do something. Scripts of system mode run one at a time, and so
// do their questions.
func askRoot(r request) error {
	conn := rootConn()
	if conn == nil {
		return errors.New("only root may do that: run the tests as root, and by AsOwner")
	}
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return err
	}
	var a answer
	if err := json.NewDecoder(conn).Decode(&a); err != nil {
		return err
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	return nil
}
