package bootup_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agentproto"
	"banger/internal/host/apt"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/internal/host/tsc"
	"banger/internal/kernel"
	"banger/internal/paths"
	"banger/test/harness"
)

// bootFiles are what a real guest boots from.
type bootFiles struct{ vmlinux, initramfs string }

// prepare builds the agent and fetches the kernel, which is kept between runs.
func prepare(t testing.TB) bootFiles {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: real guests")
	}
	for program, pkg := range map[string]string{"qemu-system-x86_64": "qemu-system-x86", "apt-get": "apt", "mkfs.ext4": "e2fsprogs", "busybox": "busybox-static"} {
		if _, err := execx.LookPath(program, pkg); err != nil {
			t.Skipf("NOT TESTED: a real boot of the agent, because this host has no %s (package %s)", program, pkg)
		}
	}
	dir, err := harness.Cache()
	must(t, err)
	p := paths.Paths{Data: filepath.Join(dir, "data"), Cache: dir, Config: dir}
	agent, err := harness.Build(t.Context(), t.TempDir(), "banger-agent")
	must(t, err)
	unlock, err := harness.Lock(harness.KernelLock)
	must(t, err)
	defer unlock()
	cache, err := kernel.Open(p, apt.New(p.Apt()))
	must(t, err)
	k, err := cache.Pull(t.Context(), api.PullKernel{}, func(api.Progress) {})
	must(t, err)
	vmlinux, initramfs, err := cache.Boot(t.Context(), k.Digest, agent)
	must(t, err)
	// Another test's agent may replace the initramfs in the shared cache.
	mine := filepath.Join(t.TempDir(), "initramfs")
	must(t, os.Link(initramfs, mine))
	return bootFiles{vmlinux, mine}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// machine is a running guest.
type machine struct {
	t       testing.TB
	cmd     *exec.Cmd
	socket  string
	console bytes.Buffer // to be read after wait
	done    chan error
	started time.Time
}

// start boots a guest under emulation, which works everywhere.
func start(t testing.TB, files bootFiles, cmdline, disk string) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, socket: filepath.Join(dir, "agent.sock"), done: make(chan error, 1), started: time.Now()}
	cmd := exec.Command("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-M", "microvm", "-nodefaults",
		"-no-user-config", "-no-reboot", "-display", "none", "-m", "256", "-kernel", files.vmlinux, "-initrd", files.initramfs,
		"-global", "virtio-mmio.force-legacy=false",
		"-append", fmt.Sprintf("console=ttyS0 tsc_early_khz=%d %s %s", tsc.KHz(), agentproto.BaseCmdline, cmdline), "-serial", "stdio",
		"-chardev", "socket,id=agent,server=on,wait=off,path="+m.socket,
		"-device", "virtio-serial-device", "-device", "virtserialport,chardev=agent,name=banger.agent",
		"-netdev", "user,id=net", "-device", "virtio-net-device,netdev=net")
	if disk != "" {
		cmd.Args = append(cmd.Args, "-drive", "if=none,id=disk,format=raw,file="+disk, "-device", "virtio-blk-device,drive=disk")
	}
	m.cmd = cmd
	cmd.Stdout, cmd.Stderr = &m.console, &m.console
	must(t, cmd.Start())
	go func() { m.done <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })
	return m
}

// wait waits for the end of the guest and returns what its console said.
func (m *machine) wait() string {
	m.t.Helper()
	select {
	case err := <-m.done:
		if err != nil {
			m.t.Errorf("qemu: %v\n%s", err, m.console.String())
		}
	case <-time.After(time.Minute):
		m.t.Fatal("the guest did not end within a minute")
	}
	return m.console.String()
}

// connect greets the agent.
func (m *machine) connect() *guest.Link {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	for {
		conn, err := fsx.DialUnix(ctx, m.socket)
		if err == nil {
			link, err := guest.Connect(ctx, conn, "test")
			if err != nil {
				m.t.Fatalf("greet the agent: %v\n%s", err, m.tail())
			}
			return link
		}
		select { // QEMU makes the socket in its first milliseconds
		case <-time.After(5 * time.Millisecond):
		case err := <-m.done:
			m.t.Fatalf("qemu ended: %v\n%s", err, m.console.String())
		}
	}
}

// tail ends the guest and returns what its console said.
func (m *machine) tail() string {
	m.cmd.Process.Kill()
	<-m.done
	return m.console.String()
}

func bootArgs(t testing.TB, change func(*agentproto.Boot)) string {
	t.Helper()
	b := agentproto.Boot{
		Hostname: "boot-test", Root: "/dev/vda",
		// The addresses of QEMU's user network (qemu(1), -netdev user).
		Address: netip.MustParsePrefix("10.0.2.15/24"), Gateway: netip.MustParseAddr("10.0.2.2"), DNS: netip.MustParseAddr("10.0.2.3"),
	}
	change(&b)
	s, err := b.Cmdline()
	must(t, err)
	return s
}

// makeDisk makes an ext4 file with the files of dir.
func makeDisk(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	must(t, execx.Run(t.Context(), execx.Cmd{Name: "mkfs.ext4", Args: []string{"-q", "-F", "-d", dir, path, "32M"}}))
	return path
}

// busyboxDir makes a root file system of nothing but busybox.
func busyboxDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	archive := filepath.Join(t.TempDir(), "root.tar")
	must(t, harness.BusyboxTar(archive))
	must(t, execx.Run(t.Context(), execx.Cmd{Name: "tar", Args: []string{"-xf", archive, "-C", dir}}))
	return dir
}

func run(t testing.TB, link *guest.Link, argv ...string) string {
	t.Helper()
	c := &guest.Client{Dial: link.Open}
	s, err := c.Exec(t.Context(), api.Exec{Argv: argv})
	must(t, err)
	defer s.Close()
	must(t, s.Stdin.Close())
	out, err := io.ReadAll(s.Stdout)
	must(t, err)
	errs, err := io.ReadAll(s.Stderr)
	must(t, err)
	exit, err := s.Wait(t.Context())
	must(t, err)
	if exit.Code != 0 {
		t.Errorf("%v ended with %d: %s", argv, exit.Code, errs)
	}
	return string(out)
}

func shutDown(t testing.TB, m *machine, link *guest.Link) string {
	t.Helper()
	must(t, (&guest.Client{Dial: link.Open}).Shutdown(t.Context()))
	before := time.Now()
	console := m.wait()
	t.Logf("powered off in %v", time.Since(before).Round(time.Millisecond))
	link.Close()
	return console
}

func TestBoot(t *testing.T) {
	files := prepare(t)
	t.Run("probe", func(t *testing.T) {
		if out := start(t, files, bootArgs(t, func(b *agentproto.Boot) { b.Probe, b.Root = true, "" }), "").wait(); !strings.Contains(out, agentproto.ProbeGreeting) {
			t.Errorf("the console said %q", out)
		}
	})
	// There is no vsock device here: its modules load, and the machine ends by a reset.
	t.Run("probe by vsock", func(t *testing.T) {
		out := start(t, files, bootArgs(t, func(*agentproto.Boot) {})+" "+agentproto.VsockArg+" banger.probe=1", makeDisk(t, t.TempDir())).wait()
		if !strings.Contains(out, agentproto.ProbeGreeting) {
			t.Errorf("the console said %q", out)
		}
	})
	t.Run("busybox", func(t *testing.T) {
		dir := busyboxDir(t)
		must(t, os.MkdirAll(filepath.Join(dir, "run/mysqld"), 0o755))
		must(t, os.Chmod(filepath.Join(dir, "run/mysqld"), 0o770))
		disk := makeDisk(t, dir)
		m := start(t, files, bootArgs(t, func(*agentproto.Boot) {}), disk)
		link := m.connect()
		t.Logf("answers after %v", time.Since(m.started).Round(time.Millisecond))
		checkGuest(t, link)
		if out := shutDown(t, m, link); !strings.Contains(out, "banger-agent: stopped") {
			t.Errorf("the console said %q", out)
		}
		must(t, execx.Run(t.Context(), execx.Cmd{Name: "e2fsck", Args: []string{"-fn", disk}})) // was unmounted cleanly
	})
	// A disk that was made larger, twice and by more than the file system has reserved room for:
	// what was on it stays, and there is more room.
	t.Run("grown", func(t *testing.T) {
		disk := makeDisk(t, busyboxDir(t))
		for _, size := range []int64{200 << 20, 200 << 20, 3 << 30} {
			must(t, os.Truncate(disk, size))
			m := start(t, files, bootArgs(t, func(*agentproto.Boot) {}), disk)
			link := m.connect()
			run(t, link, "sh", "-c", "echo kept >> /kept")
			var blocks int64 // of 1 KiB
			if _, err := fmt.Sscan(run(t, link, "sh", "-c", "df -k / | tail -1 | awk '{print $2}'"), &blocks); err != nil || blocks<<10 < size*9/10 {
				t.Errorf("of %d MiB the guest has %d, %v", size>>20, blocks>>10, err)
			}
			shutDown(t, m, link)
			must(t, execx.Run(t.Context(), execx.Cmd{Name: "e2fsck", Args: []string{"-fn", disk}}))
		}
	})
	t.Run("empty", func(t *testing.T) {
		m := start(t, files, bootArgs(t, func(*agentproto.Boot) {}), makeDisk(t, t.TempDir()))
		link := m.connect()
		if h, err := (&guest.Client{Dial: link.Open}).Health(t.Context()); err != nil || h.Hostname != "boot-test" || h.Init != api.InitAgent {
			t.Errorf("health: %+v, %v", h, err)
		}
		shutDown(t, m, link)
	})
	t.Run("own init", func(t *testing.T) {
		dir := busyboxDir(t)
		must(t, os.WriteFile(filepath.Join(dir, "init"), []byte("#!/bin/sh\necho own init runs as $$\nwhile :; do sleep 1000; done\n"), 0o755))
		m := start(t, files, bootArgs(t, func(b *agentproto.Boot) { b.Init = "/init" }), makeDisk(t, dir))
		link := m.connect()
		if name := run(t, link, "cat", "/proc/1/comm"); name != "init\n" {
			t.Errorf("process 1 is %q", name)
		}
		if h, err := (&guest.Client{Dial: link.Open}).Health(t.Context()); err != nil || h.Init != "init" {
			t.Errorf("health: %+v, %v", h, err)
		}
		if group := run(t, link, "cat", "/proc/self/cgroup"); group != "0::/banger-work\n" {
			t.Errorf("commands are in the group %q", group)
		}
		if out := shutDown(t, m, link); !strings.Contains(out, "own init runs as 1") {
			t.Errorf("the console said %q", out)
		}
	})
	t.Run("init like systemd", func(t *testing.T) {
		dir := busyboxDir(t)
		// On signal 38 (SIGRTMIN+4, systemd(1)) it ends all processes and waits for
		// them before it powers off.
		must(t, os.WriteFile(filepath.Join(dir, "systemd"), []byte("#!/bin/sh\ntrap 'going=1' 38\n: > /trapped\n"+
			"while [ -z \"$going\" ]; do sleep 1000 & wait; done\n"+
			"kill -TERM $(pidof banger-agent)\nwhile pidof banger-agent; do sleep 0.1; done\necho all have ended\npoweroff -f\n"), 0o755))
		m := start(t, files, bootArgs(t, func(b *agentproto.Boot) { b.Init = "/systemd" }), makeDisk(t, dir))
		link := m.connect()
		run(t, link, "sh", "-c", "until [ -e /trapped ]; do sleep 0.1; done")
		asked := time.Now()
		if out := shutDown(t, m, link); !strings.Contains(out, "all have ended") || time.Since(asked) > 20*time.Second {
			t.Errorf("after %v the console said %q", time.Since(asked), out)
		}
	})
	t.Run("bad root", func(t *testing.T) {
		disk := filepath.Join(t.TempDir(), "disk")
		must(t, os.WriteFile(disk, make([]byte, 1<<20), 0o600))
		out := start(t, files, bootArgs(t, func(*agentproto.Boot) {}), disk).wait()
		if !strings.Contains(out, "banger-agent: fatal: mount /dev/vda as ext4") {
			t.Errorf("the console said %q", out)
		}
	})
}

// checkGuest looks at what an ordinary program sees in a fresh guest.
func checkGuest(t *testing.T, link *guest.Link) {
	for _, c := range []struct{ script, want string }{
		{"hostname", "boot-test"},
		{"grep -c boot-test /etc/hosts", "1"},
		{"cat /etc/resolv.conf", "nameserver 10.0.2.3"},
		{"ip -o -4 addr show eth0 | grep -c 'inet 10.0.2.15/24'", "1"},
		{"ip route | head -n 1", "default via 10.0.2.2 dev eth0"},
		{"cat /proc/1/comm", "banger-agent"},
		{"cat /proc/self/cgroup", "0::/banger-work"},
		{"stat -c %a /tmp", "1777"},
		{"for d in /proc /sys /dev /dev/pts /dev/shm /run /sys/fs/cgroup; do grep -c \" $d \" /proc/mounts; done | sort -u", "1"},
		{"stat -c %a /run/mysqld", "770"},
		{"cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "0"},
		{"cat /proc/sys/net/ipv4/ping_group_range | tr '\\t' ' '", "0 2147483647"},
		{"ls / | tr '\\n' ' '", "bin dev etc lost+found proc run sys tmp"},
		{"echo x >/dev/stderr 2>/dev/null && readlink /dev/fd", "/proc/self/fd"},
	} {
		if got := strings.TrimSpace(run(t, link, "sh", "-c", c.script)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.script, got, c.want)
		}
	}
	now := strings.TrimSpace(run(t, link, "date", "+%s"))
	var seconds int64
	if _, err := fmt.Sscan(now, &seconds); err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 30*time.Second {
		t.Errorf("the guest's clock says %s", now)
	}
}
