package hostfirewall

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/network"
	"banger/internal/host/network/netns"
	"banger/internal/host/rootexec"
)

// TestHostFirewall runs itself in namespaces of its own: the host's table is of the
// network namespace, and nft is replaced by a mount.
func TestHostFirewall(t *testing.T) {
	const inside = "TEST_HOST_FIREWALL"
	if os.Getenv(inside) == "" {
		nft, err := rootexec.Find("nft", rootexec.SystemDirs)
		if os.Getuid() != 0 || err != nil {
			t.Skipf("it needs root and nft: %v", err)
		}
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestHostFirewall$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"="+nft)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("/bin/false", os.Getenv(inside), "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := netns.SetForwarding(false); err != nil {
		t.Fatal(err)
	}
	f := &Firewall{Outer: network.DefaultOuter, Log: slog.New(slog.DiscardHandler)}
	defer f.Close()
	for range 2 { // not only the first VM is refused
		if err := f.Ensure(context.Background()); err == nil {
			t.Error("a VM gets a network without the table")
		}
	}
	if on, err := netns.Forwarding(); on || err != nil {
		t.Errorf("the host forwards without the table: %v, %v", on, err)
	}
	if c := tableCheck(f); c.Status != "fail" || !strings.Contains(c.Found, "is retried") {
		t.Errorf("%+v", c)
	}
	if err := unix.Unmount(os.Getenv(inside), unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if err := f.Ensure(context.Background()); err != nil {
		t.Fatal(err)
	}
	if on, err := netns.Forwarding(); !on || err != nil {
		t.Errorf("the host does not forward: %v, %v", on, err)
	}
	if c := tableCheck(f); c.Status != "ok" {
		t.Errorf("%+v", c)
	}
	// It is turned on once: whoever turns it off later is obeyed until the next helper.
	if err := netns.SetForwarding(false); err != nil {
		t.Fatal(err)
	}
	if err := f.Ensure(context.Background()); err != nil {
		t.Fatal(err)
	}
	if on, err := netns.Forwarding(); on || err != nil {
		t.Errorf("the host forwards again: %v, %v", on, err)
	}
	if err := f.Remove(context.Background()); err != nil {
		t.Error(err)
	}
}

func tableCheck(f *Firewall) api.Check {
	for _, c := range f.Check(context.Background()) {
		if c.Name == "firewall table" {
			return c
		}
	}
	return api.Check{}
}
