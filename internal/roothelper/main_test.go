package roothelper

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/host/network"
	"banger/internal/host/rootexec"
	"banger/internal/paths"
	"banger/internal/rootapi"
	"banger/internal/roothelper/instancelock"
	"banger/internal/system/record"
)

// hostEnv tells the test's program to run Main on a host of its own: the directory named
// has what Main finds in its directories below /etc, /run and /var/lib, and perhaps a /dev.
const hostEnv = "MAIN_ON_A_HOST"

// mainOnAHost runs Main where nothing of the machine's banger and systemd can be reached.
// The process has mount and network namespaces of its own.
func mainOnAHost(dir string) {
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err != nil {
		panic(err) // what is mounted next would be seen outside
	}
	for _, hidden := range []string{"/etc", "/run", "/var/lib"} {
		err = errors.Join(err, unix.Mount("none", hidden, "tmpfs", 0, "mode=0755"))
	}
	for name, path := range map[string]string{"etc": paths.SystemConfig, "run": paths.RootRun, "lib": filepath.Dir(paths.Jails)} {
		err = errors.Join(err, os.MkdirAll(path, 0o755), unix.Mount(filepath.Join(dir, name), path, "", unix.MS_BIND, ""))
	}
	if there("/dev/kvm") { // a socket in its place cannot be opened
		err = errors.Join(err, unix.Mount(filepath.Join(dir, "notify"), "/dev/kvm", "", unix.MS_BIND, ""))
	}
	if dev := filepath.Join(dir, "dev"); there(dev) {
		err = errors.Join(err, unix.Mount(dev, "/dev", "", unix.MS_BIND, ""))
	}
	const systemd = "/run/systemd"
	err = errors.Join(err, os.Mkdir(systemd, 0o755))
	l, listenErr := net.Listen("unix", filepath.Join(systemd, "private"))
	if err = errors.Join(err, listenErr); err != nil {
		panic(err)
	}
	go acceptAuth(l)
	os.Exit(Main(os.Args[1:], "1.2.3", "abcdef"))
}

// acceptAuth is a systemd that lets clients in, and answers none of their calls
// (D-Bus Specification, "Authentication Protocol").
func acceptAuth(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			lines := bufio.NewReader(conn)
			for {
				line, err := lines.ReadString('\n')
				switch line = strings.TrimLeft(line, "\x00"); {
				case err != nil || strings.HasPrefix(line, "BEGIN"):
					_, _ = io.Copy(io.Discard, lines)
					return
				case strings.HasPrefix(line, "AUTH EXTERNAL"):
					_, _ = io.WriteString(conn, "OK 0123456789abcdef0123456789abcdef\r\n")
				case strings.HasPrefix(line, "NEGOTIATE_UNIX_FD"):
					_, _ = io.WriteString(conn, "AGREE_UNIX_FD\r\n")
				default:
					_, _ = io.WriteString(conn, "REJECTED EXTERNAL\r\n")
				}
			}
		}()
	}
}

// mainHost is the host of a helper that is started with Main.
type mainHost struct {
	*fixture
	dir   string
	ready *net.UnixConn // what systemd is notified on
}

func newMainHost(t *testing.T) *mainHost {
	t.Helper()
	h := &mainHost{fixture: newFixture(t)}
	h.dir = h.fixture.dir()
	for _, name := range []string{"etc", "run", "lib"} {
		h.check(os.Mkdir(filepath.Join(h.dir, name), 0o755))
	}
	var err error
	h.ready, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(h.dir, "notify"), Net: "unixgram"})
	h.check(err)
	t.Cleanup(func() { h.ready.Close() })
	h.check(record.Record{
		Owner: "somebody", UID: owner, GID: owner, Home: "/home/somebody", Version: "1.2.3",
		UIDBase: uidBase, UIDCount: record.Slots, Network: network.DefaultOuter.String(), IPForwardBefore: "0",
	}.Write(filepath.Join(h.dir, "etc", "install.toml")))
	return h
}

// run starts the helper. Its output can be read once it has ended.
func (h *mainHost) run(args ...string) (cmd *exec.Cmd, out *strings.Builder) {
	h.TB.Helper()
	out = &strings.Builder{}
	cmd = exec.Command(selfProgram, args...)
	cmd.Env = append(os.Environ(), hostEnv+"="+h.dir, "NOTIFY_SOCKET="+h.ready.LocalAddr().String())
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	h.check(cmd.Start())
	h.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, out
}

// notified returns what systemd is told within a time.
func (h *mainHost) notified(most time.Duration) string {
	h.TB.Helper()
	h.check(h.ready.SetReadDeadline(time.Now().Add(most)))
	b := make([]byte, 100)
	n, _ := h.ready.Read(b)
	return string(b[:n])
}

// ends waits for the end of the helper, and returns its exit status.
func (h *mainHost) ends(cmd *exec.Cmd) int {
	h.TB.Helper()
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

// TestMainServes: it waits for the helper before it, says that it is ready, answers the
// owner, prepares what a start needs, and ends when it is asked to.
func TestMainServes(t *testing.T) {
	h := newMainHost(t)
	asked := filepath.Join(h.dir, "asked")
	h.check(os.WriteFile(h.Settings.Firecracker, []byte("#!/bin/sh\n: >"+asked+"\necho Firecracker v1.16.1\n"), 0o755))
	h.check(os.WriteFile(filepath.Join(h.dir, "etc", "config.toml"),
		[]byte("firecracker = \""+h.Settings.Firecracker+"\"\njailer = \""+h.Settings.Jailer+"\"\n"), 0o644))
	h.check(os.MkdirAll(filepath.Join(h.dir, "lib", "jails"), 0o700))
	release, err := instancelock.Take(t.Context(), filepath.Join(h.dir, "run"), time.Second)
	h.check(err)
	cmd, out := h.run()
	if got := h.notified(500 * time.Millisecond); got != "" {
		t.Errorf("%q beside another helper", got)
	}
	h.check(release())
	if got := h.notified(20 * time.Second); got != "READY=1" {
		t.Fatalf("%q, status %d: %s", got, h.ends(cmd), out)
	}
	var hello rootapi.HelloAnswer
	c := rootapi.Client{Socket: filepath.Join(h.dir, "run", "helper.sock"), Version: "1.2.3"}
	_, err = c.Do(t.Context(), rootapi.HelloCall{}, &hello)
	if want := (rootapi.HelloAnswer{Version: "1.2.3", PID: cmd.Process.Pid, OwnerUID: owner, Outer: network.DefaultOuter}); err != nil || hello != want {
		t.Errorf("%+v, %v", hello, err)
	}
	for deadline := time.Now().Add(20 * time.Second); !there(asked); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the program of the configuration is not asked for its version")
		}
	}
	for name, mode := range map[string]os.FileMode{"lib/jails": 0o711, "lib/boot": 0o755} {
		if info, err := os.Stat(filepath.Join(h.dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v", name, err)
		}
	}
	h.check(cmd.Process.Signal(syscall.SIGTERM))
	if status := h.ends(cmd); status != 0 {
		t.Errorf("status %d", status)
	}
	_, noTables := rootexec.Find("nft", rootexec.SystemDirs)
	for text, want := range map[string]bool{
		"msg=ready": true, "msg=\"stopping; guests keep running\"": true, "cannot notify": false, "is ignored": false,
		"cannot load the firewall's table": noTables != nil,
	} {
		if strings.Contains(out.String(), text) != want {
			t.Errorf("its log has not %q: %t:\n%s", text, want, out)
		}
	}
}

// TestMainWithoutTrust: what others than root can change is not used. The host has no KVM.
func TestMainWithoutTrust(t *testing.T) {
	h := newMainHost(t)
	config := filepath.Join(h.dir, "etc", "config.toml")
	h.check(os.WriteFile(config, nil, 0o644))
	h.check(os.Chown(config, owner, owner))
	cmd, out := h.run()
	if got := h.notified(20 * time.Second); got != "READY=1" {
		t.Errorf("%q", got)
	}
	var a rootapi.CheckAnswer
	c := rootapi.Client{Socket: filepath.Join(h.dir, "run", "helper.sock"), Version: "1.2.3"}
	if _, err := c.Do(t.Context(), rootapi.CheckCall{}, &a); err != nil || !strings.HasPrefix(a.KVM, "open /dev/kvm: ") {
		t.Errorf("KVM: %q, %v", a.KVM, err)
	}
	h.check(cmd.Process.Signal(syscall.SIGTERM))
	if status := h.ends(cmd); status != 0 || !strings.Contains(out.String(), "the configuration is ignored") {
		t.Errorf("status %d: %s", status, out)
	}
	h.check(os.Chown(filepath.Join(h.dir, "etc", "install.toml"), owner, owner))
	cmd, out = h.run()
	if status := h.ends(cmd); status != 1 || !strings.Contains(out.String(), "cannot trust the install record") {
		t.Errorf("status %d: %s", status, out)
	}
}

// TestLauncher: it runs a program as the VM's user, who may open /dev/kvm if a group may, and
// as nobody else.
func TestLauncher(t *testing.T) {
	const vmUser = "1900000005"
	as := "uid=" + vmUser + " gid=" + vmUser + " groups=" + vmUser
	for name, c := range map[string]struct {
		group int // of /dev/kvm; -1: there is none
		args  []string
		says  string
		fails bool
	}{
		"a group may open KVM":   {4242, []string{vmUser, "", "/usr/bin/id"}, as + ",4242\n", false},
		"only root may open KVM": {0, []string{vmUser, "", "/usr/bin/id"}, as + "\n", false},
		"without KVM":            {-1, []string{vmUser, "", "/usr/bin/id"}, as + "\n", false},
		"with arguments":         {-1, []string{vmUser, "", "/usr/bin/id", "-u"}, vmUser + "\n", false},
		"as root":                {-1, []string{"0", "", "/usr/bin/id"}, "0 is not a VM's user id", true},
		"as a negative user":     {-1, []string{"-5", "", "/usr/bin/id"}, "-5 is not a VM's user id", true},
		"as a name":              {-1, []string{"root", "", "/usr/bin/id"}, "invalid syntax", true},
		"no such directory":      {-1, []string{vmUser, "/nonexistent", "/usr/bin/id"}, "no such file", true},
		"no such program":        {-1, []string{vmUser, "", "/nonexistent"}, "no such file", true},
		"no program":             {-1, []string{vmUser, ""}, "UID DIRECTORY PROGRAM", true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newMainHost(t)
			h.check(os.Mkdir(filepath.Join(h.dir, "dev"), 0o755))
			if kvm := filepath.Join(h.dir, "dev", "kvm"); c.group >= 0 {
				h.check(os.WriteFile(kvm, nil, 0o660))
				h.check(os.Chown(kvm, 0, c.group))
			}
			if c.args[1] == "" {
				c.args[1] = h.fixture.dir()
			}
			cmd, out := h.run(append([]string{LaunchArg}, c.args...)...)
			status := h.ends(cmd)
			if said := out.String(); (status != 0) != c.fails || !strings.Contains(said, c.says) || !c.fails && said != c.says {
				t.Errorf("status %d: %s", status, said)
			}
		})
	}
}

func TestMainArguments(t *testing.T) {
	h := newMainHost(t)
	for _, c := range []struct {
		arg    string
		status int
		says   string
	}{
		{"--version", 0, "bangerd-root 1.2.3 (abcdef)\n"},
		{"--unknown", 2, "flag provided but not defined: -unknown"},
		{LaunchArg, 1, "banger: cannot execute QEMU: launch UID DIRECTORY PROGRAM ARGUMENTS"},
	} {
		cmd, out := h.run(c.arg)
		if status := h.ends(cmd); status != c.status || !strings.HasPrefix(out.String(), c.says) {
			t.Errorf("%s: status %d: %s", c.arg, status, out)
		}
	}
}

// TestSystemdWaitsForRequests: it does not start a helper beside one that may still work.
func TestSystemdWaitsForRequests(t *testing.T) {
	unit, err := os.ReadFile("../system/units/bangerd-root.service")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(unit)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "TimeoutStopSec="); ok {
			most, err := time.ParseDuration(value)
			if err != nil || most < requestTime+workTime {
				t.Errorf("TimeoutStopSec=%s, and a request takes up to %s: %v", value, requestTime+workTime, err)
			}
			return
		}
	}
	t.Error("the unit has no TimeoutStopSec=")
}
