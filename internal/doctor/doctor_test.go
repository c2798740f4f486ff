package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"banger/internal/driver"
	"banger/internal/paths"
)

// good is an ordinary user's machine on which all is well.
func good() Host {
	files := map[string]string{
		"/etc/subuid":   "other:1:2\nann:100000:65536\n",
		"/etc/subgid":   "1000:100000:65536\n",
		"/proc/meminfo": "MemTotal:  8000000 kB\nMemAvailable:  4000000 kB\n",
		"/proc/sys/fs/inotify/max_user_instances":                "128\n",
		"/proc/sys/user/max_user_namespaces":                     "63000\n",
		"/proc/sys/kernel/unprivileged_userns_clone":             "1\n",
		"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "0\n",
		"/etc/lvm/lvm.conf":                                      "devices {\n\t" + lvmFilter + "\n}\n",
		"/data/banger.db":                                        "SQLite format 3\x00…",
		"/data/bangerd.log":                                      "level=ERROR msg=old\nlevel=INFO msg=ready\n",
	}
	return Host{
		UID: 1000, User: "ann", Paths: paths.Paths{Data: "/data", Cache: "/cache"},
		LookPath: func(name string) (string, error) { return "/usr/bin/" + name, nil },
		ReadFile: func(path string) ([]byte, error) {
			if text, ok := files[path]; ok {
				return []byte(text), nil
			}
			return nil, fs.ErrNotExist
		},
		ReadDir:   func(string) ([]os.DirEntry, error) { return nil, fs.ErrNotExist },
		OpenKVM:   func() error { return nil },
		Free:      func(string) (int64, error) { return 100 * gib, nil },
		OpenFiles: func() (uint64, error) { return 1 << 20, nil },
		Settings:  func() error { return nil },
		Probes: Probes{
			VMM: func(context.Context) (driver.Capability, error) {
				return driver.Capability{Version: "9.2", Accel: "kvm"}, nil
			},
			Reflink: func(context.Context) error { return nil },
		},
	}
}

// with returns h with one file changed.
func with(h Host, path, text string) Host {
	read := h.ReadFile
	h.ReadFile = func(p string) ([]byte, error) {
		if p == path {
			return []byte(text), nil
		}
		return read(p)
	}
	return h
}

// without returns h lacking a program.
func without(h Host, program string) Host {
	h.LookPath = func(name string) (string, error) {
		if name == program {
			return "", errors.New("not found")
		}
		return "/usr/bin/" + name, nil
	}
	return h
}

func change(f func(*Host)) Host {
	h := good()
	f(&h)
	return h
}

// TestNameServersWithoutIPv4: guests could not ask them.
func TestNameServersWithoutIPv4(t *testing.T) {
	h := Host{ReadFile: func(string) ([]byte, error) { return []byte("nameserver ::1\n"), nil }}
	if f := nameServers(t.Context(), h); f.Status != Warn {
		t.Errorf("%+v", f)
	}
}

// TestReadOnlyIsNoLackOfSpace: what is mounted read-only is called that.
func TestReadOnlyIsNoLackOfSpace(t *testing.T) {
	h := Host{Free: func(string) (int64, error) { return 0, nil }, ReadOnly: func(string) bool { return true }}
	if f := space(h, "/home/x", gib, gib); f.Status != Fail || !strings.Contains(f.Found, "read-only") || !strings.Contains(f.Fix, "findmnt -T /home/x") {
		t.Errorf("%+v", f)
	}
}

func TestAllIsWell(t *testing.T) {
	for name, h := range map[string]Host{
		"user":          good(),
		"root":          change(func(h *Host) { h.UID, h.User = 0, "root"; *h = with(*h, "/etc/subuid", "") }),
		"without probe": change(func(h *Host) { h.Probes = Probes{} }),
		"no reflink":    change(func(h *Host) { h.Reflink = func(context.Context) error { return errors.New("no") } }),
	} {
		for _, c := range Run(context.Background(), h) {
			if c.Status != OK || c.Found == "" || c.Why == "" || c.Fix != "" {
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
}

func TestFindings(t *testing.T) {
	entries, err := os.ReadDir("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host                      Host
		check, status, found, fix string
	}{
		{without(good(), "qemu-system-x86_64"), "qemu", Fail, "not installed", "qemu-system-x86"},
		{change(func(h *Host) {
			h.VMM = func(context.Context) (driver.Capability, error) {
				return driver.Capability{}, errors.New("QEMU 4.0 is too old")
			}
		}), "qemu", Fail, "too old", "apt-get"},
		{change(func(h *Host) { h.Settings = func() error { return errors.New("line 3: memory") } }), "settings", Fail, "line 3: memory", "config show"},
		{change(func(h *Host) {
			h.Suspended = func(context.Context) (fit, stranded []string) {
				return []string{"good"}, []string{"VM dev cannot continue: a reason", "VM old cannot continue: another"}
			}
		}), "suspended VMs", Warn, "VM dev cannot continue: a reason; VM old cannot", "--cold"},
		{change(func(h *Host) { h.OpenKVM = func() error { return fs.ErrNotExist } }), "kvm", Warn, "emulated", "firmware"},
		{change(func(h *Host) { h.OpenKVM = func() error { return fs.ErrPermission } }), "kvm", Warn, "ann may not", "usermod -aG kvm $USER"},
		{change(func(h *Host) { h.OpenKVM = func() error { return errors.New("busy") } }), "kvm", Warn, "busy", "dmesg"},
		{change(func(h *Host) {
			h.VMM = func(context.Context) (driver.Capability, error) {
				return driver.Capability{Accel: "tcg", Reason: "a guest hangs on it"}, nil
			}
		}), "kvm", Warn, "a guest hangs on it", "nested"},
		{without(good(), "resize2fs"), "e2fsprogs", Fail, "resize2fs", "apt-get install e2fsprogs"},
		{without(good(), "mmdebstrap"), "mmdebstrap", Fail, "mmdebstrap", "apt-get install mmdebstrap"},
		{without(good(), "apt-get"), "apt", Warn, "no apt", "kernel import --host"},
		{without(good(), "newuidmap"), "uidmap", Fail, "newuidmap", "apt-get install uidmap"},
		{with(good(), "/etc/subuid", "ann:100000:100\n"), "subordinate ids", Fail, "grants ann 100 ids", "add-subuids"},
		{with(good(), "/etc/subgid", "garbage\n::\nann:x:y\n"), "subordinate ids", Fail, "/etc/subgid", "add-subgids"},
		{with(good(), "/proc/sys/user/max_user_namespaces", "0\n"), "user namespaces", Fail, "max_user_namespaces", "sysctl"},
		{with(good(), "/proc/sys/kernel/unprivileged_userns_clone", "0\n"), "user namespaces", Fail, "userns_clone", "sysctl"},
		{with(good(), "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n"), "user namespaces", Fail, "apparmor", "sysctl"},
		{change(func(h *Host) { h.Free = func(string) (int64, error) { return 2 * gib, nil } }), "space for data", Warn, "2.0 GiB", "prune"},
		{change(func(h *Host) { h.Free = func(string) (int64, error) { return 100 * mib, nil } }), "space for cache", Fail, "0.1 GiB", "free space on"},
		{change(func(h *Host) { h.Free = func(string) (int64, error) { return 0, fs.ErrNotExist } }), "space for data", Warn, "cannot find out", ""},
		{with(good(), "/proc/meminfo", "MemAvailable: 1024 kB\n"), "memory", Warn, "1 MiB", "--memory"},
		{with(good(), "/proc/sys/fs/inotify/max_user_instances", "8\n"), "inotify", Warn, "8", "sysctl"},
		{change(func(h *Host) { h.OpenFiles = func() (uint64, error) { return 256, nil } }), "open files", Warn, "256", "ulimit"},
		{with(good(), "/data/banger.db", "hello"), "store", Fail, "damaged", "daemon run"},
		{change(func(h *Host) { h.ReadDir = func(string) ([]os.DirEntry, error) { return entries, nil } }), "staging", Warn, "unfinished images or kernels", "daemon stop"},
		{with(good(), "/data/bangerd.log", "level=INFO msg=ready\nlevel=ERROR msg=a\nlevel=ERROR msg=b\n"), "daemon log", Warn, "2 errors since the daemon started; the newest: level=ERROR msg=b", "less"},
		{with(with(good(), "/data/bangerd.log.old", "level=ERROR msg=0\nlevel=INFO msg=ready\nlevel=ERROR msg=a\n"), "/data/bangerd.log", "level=ERROR msg=b\n"), "daemon log", Warn, "2 errors since the daemon started; the newest: level=ERROR msg=b", "less"},
	} {
		seen := false
		for _, got := range Run(context.Background(), c.host) {
			if got.Name != c.check {
				continue
			}
			seen = true
			if got.Status != c.status || !strings.Contains(got.Found, c.found) || !strings.Contains(got.Fix, c.fix) {
				t.Errorf("%s: %+v", c.check, got)
			}
		}
		if !seen {
			t.Errorf("there is no check %q", c.check)
		}
	}
}

// TestThisHost asks the machine that the test runs on: every question must
// have an answer, whatever it is.
func TestThisHost(t *testing.T) {
	dir := t.TempDir()
	h := ThisHost(paths.Paths{Data: dir + "/none/data", Cache: dir}, Probes{})
	for _, c := range Run(context.Background(), h) {
		if c.Found == "" || strings.HasPrefix(c.Name, "space") && strings.Contains(c.Found, "cannot find out") {
			t.Errorf("%+v", c)
		}
	}
	if _, err := os.Lstat(dir + "/none"); err == nil {
		t.Error("the doctor made a directory")
	}
}

func FuzzGranted(f *testing.F) {
	f.Add([]byte("ann:100000:65536\n"))
	f.Add([]byte("ann::\n:::\nann:1:-5"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if granted(data, "ann", 1000) < 0 {
			t.Error("negative")
		}
		meminfo(data, "MemAvailable:")
	})
}
