package bootup

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"banger/internal/guest/agentproto"
)

func TestWriteResolver(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "etc/resolv.conf")
	const want = "nameserver 192.0.2.1\n"
	check := func(what string) {
		t.Helper()
		if err := writeResolver(root, want); err != nil {
			t.Fatal(what, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	check("no etc")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../run/systemd/resolve/stub-resolv.conf", path); err != nil {
		t.Fatal(err)
	}
	check("dangling link")
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the dangling link is still there: %v", err)
	}
}

func TestWriteHosts(t *testing.T) {
	root := t.TempDir()
	for range 2 { // the second time changes nothing
		if err := writeHosts(root, agentproto.Boot{Hostname: "calm-fox", Gateway: netip.MustParseAddr("10.0.2.2")}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(filepath.Join(root, "etc/hosts"))
	if want := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tcalm-fox\n10.0.2.2\thost.banger.internal\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	if namesHost("127.0.0.1 a # calm-fox\ncalm-fox b\n", "calm-fox") {
		t.Error("a comment or an address was taken for a name")
	}
}

func TestResolver(t *testing.T) {
	boot := agentproto.Boot{DNS: netip.MustParseAddr("192.0.2.53")}
	if got := resolver(boot); got != "nameserver 192.0.2.53\n" {
		t.Errorf("got %q", got)
	}
	boot.Search = "corp.example,b.example"
	if got := resolver(boot); got != "nameserver 192.0.2.53\nsearch corp.example b.example\n" {
		t.Errorf("got %q", got)
	}
}

func TestTellInit(t *testing.T) {
	root := t.TempDir()
	boot := agentproto.Boot{
		Address: netip.MustParsePrefix("192.0.2.2/24"), Gateway: netip.MustParseAddr("192.0.2.1"), DNS: netip.MustParseAddr("192.0.2.53"), Search: "corp.example,b.example",
	}
	if err := configureInit(root, boot); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"run/network/ifstate": "eth0=eth0\n",
		"run/systemd/network/00-banger.network": "[Match]\nName=eth0\n\n[Network]\nKeepConfiguration=yes\n" +
			"Address=192.0.2.2/24\nGateway=192.0.2.1\nDNS=192.0.2.53\nDomains=corp.example b.example\n",
	} {
		if got, err := os.ReadFile(filepath.Join(root, file)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
}

func TestParseStat(t *testing.T) {
	for stat, want := range map[string]bool{
		"7 (a) b) S 1 7 7 34816 7 4194304 1": true,
		"7 (kthreadd) S 0 0 0 0 -1 2129984":  false,
		"7 (gone) Z 1 7 7 0 -1 4194304":      false,
		"7 (short) S 1":                      false,
		"":                                   false,
	} {
		p, ok := parseStat(7, []byte(stat))
		if ok != want || ok && !p.terminal {
			t.Errorf("%q: %+v, %v", stat, p, ok)
		}
	}
}

func TestMountTargets(t *testing.T) {
	got := mountTargets("/dev/vda / ext4 rw 0 0\nnone /a\\040b tmpfs rw 0 0\n\n")
	if diff := cmp.Diff([]string{"/", "/a b"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPortIn(t *testing.T) {
	class := t.TempDir()
	for port, name := range map[string]string{"vport0p0": "console\n", "vport1p1": agentproto.PortName + "\n"} {
		if err := os.Mkdir(filepath.Join(class, port), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(class, port, "name"), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := portIn(class, "/dev"); got != "/dev/vport1p1" {
		t.Errorf("got %q", got)
	}
}

func TestNeeded(t *testing.T) {
	for name, want := range map[string][2]bool{ // without vsock, with it
		"02-virtio_mmio.ko": {true, true}, "03-virtio_console.ko": {true, false}, "08-vsock.ko": {false, true},
		"09-vmw_vsock_virtio_transport_common.ko": {false, true}, "07-virtio_net.ko": {true, true},
	} {
		if got := [2]bool{needed(name, false), needed(name, true)}; got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestMustReset(t *testing.T) {
	qemu, firecracker := agentproto.Boot{}, agentproto.Boot{Vsock: true}
	if mustReset(qemu, false) || !mustReset(qemu, true) || !mustReset(firecracker, false) || !mustReset(firecracker, true) {
		t.Error("a guest that is to reset powers off, or the other way round")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("7 (a) b) S 1 7 7 34816 7 4194304 1"))
	f.Add([]byte("127.0.0.1 localhost\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseStat(1, b)
		mountTargets(string(b))
		namesHost(string(b), "a")
		_ = parseAck(b)
	})
}

func TestListensTo(t *testing.T) {
	// A systemd of Debian 12 at work: it blocks what it reads from a signalfd.
	const systemd = "Name:\tsystemd\nSigBlk:\t7be3c0fe28014a03\nSigIgn:\t0000000000001000\nSigCgt:\t00000000000004ec\n"
	for status, want := range map[string]bool{
		systemd: true,
		"Name:\tinit\nSigBlk:\t0000000000000000\nSigCgt:\t0000000000000000\n": false,
		"SigCgt:\t0000002000000000\n":                                         true,
		"SigIgn:\t0000002000000000\n":                                         false,
		"SigBlk:\tzz\n":                                                       false,
		"":                                                                    false,
	} {
		if got := statusHandles(status, startPoweroff); got != want {
			t.Errorf("%q: %v", status, got)
		}
	}
}

// TestEnding: commands, the rest and the disk share the time that the host gives.
func TestEnding(t *testing.T) {
	if e := (shutdownRequest{}); e.patience() != 0 || e.rest() != termWait {
		t.Errorf("without a time: %v and %v", e.patience(), e.rest())
	}
	for _, grace := range []time.Duration{-time.Second, 0, time.Second, 10 * time.Second, time.Hour} {
		e := shutdownRequest{by: time.Now().Add(grace)}
		if p, r := e.patience(), e.rest(); p <= 0 || p > max(time.Millisecond, grace*3/5) || r > max(0, grace/2) || grace > 0 && (p < grace/2 || r < grace/3) {
			t.Errorf("%v: %v for commands, %v for the rest", grace, p, r)
		}
	}
}

func TestInitShare(t *testing.T) {
	for _, grace := range []time.Duration{-time.Second, 0, time.Second, 10 * time.Second, 30 * time.Second, time.Hour} {
		patience, wait := initShare(grace)
		if patience+wait > max(0, grace) || wait > termWait || grace > time.Second && patience < grace/2 {
			t.Errorf("%v: %v for the init, %v for the rest", grace, patience, wait)
		}
	}
}
