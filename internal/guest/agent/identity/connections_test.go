package identity

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"banger/internal/guest/agentproto"
)

// inNetwork runs f in a network of its own, with an address that is not a loopback one.
func inNetwork(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread, which is in another network, ends here
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Logf("NOT RUN: connections of a network of its own, because this user may not make one: %v", err)
			return
		}
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err == nil {
			var address *netlink.Addr
			if address, err = netlink.ParseAddr("192.0.2.1/32"); err == nil {
				err = netlink.AddrAdd(lo, address)
			}
		}
		if err != nil {
			t.Error(err)
			return
		}
		f(t)
	}()
	<-done
}

// pair is a connection to an address of this machine. The sockets are made by this thread.
func pair(t *testing.T, address string) (here, there net.Conn) {
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	defer l.Close()
	if here, err = net.Dial("tcp", l.Addr().String()); err == nil {
		there, err = l.Accept()
	}
	if err != nil {
		t.Error(err)
	}
	return here, there
}

func TestEndConnections(t *testing.T) {
	inNetwork(t, func(t *testing.T) {
		if step := EndConnections(); step.State != agentproto.StepSkipped || step.Detail != "none" {
			t.Logf("NOT RUN: resetting connections, because this kernel cannot: %+v", step)
			return
		}
		out, outPeer := pair(t, "192.0.2.1")
		local, localPeer := pair(t, "127.0.0.1")
		if t.Failed() {
			return
		}
		for _, c := range []net.Conn{out, outPeer, local, localPeer} {
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
		}
		step := EndConnections()
		if strings.Contains(step.Detail, syscall.EOPNOTSUPP.Error()) {
			t.Logf("NOT RUN: resetting connections, because this kernel cannot: %+v", step)
			return
		}
		// Both ends are in this network. The reset of one may have ended the other.
		if step.State != agentproto.StepDone || !strings.Contains(step.Detail, "to 192.0.2.1:") {
			t.Errorf("%+v", step)
		}
		if _, err := out.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNABORTED) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the connection has ended with %v", err)
		}
		if _, err := io.WriteString(local, "x"); err != nil {
			t.Error(err)
		}
		if _, err := localPeer.Read(make([]byte, 1)); err != nil {
			t.Errorf("a connection within the guest: %v", err)
		}
	})
}

func TestParseConnection(t *testing.T) {
	b := make([]byte, answerSize)
	b[0] = unix.AF_INET
	copy(b[answerAt:], []byte{0x1f, 0x90, 0x01, 0xbb, 10, 0, 2, 15})
	copy(b[answerAt+20:], []byte{151, 101, 2, 132})
	if c, ok := parseConnection(b); !ok || c.remote.String() != "151.101.2.132:443" || c.local.String() != "10.0.2.15" {
		t.Errorf("%+v, %v", c, ok)
	}
	if _, ok := parseConnection(b[:answerSize-1]); ok {
		t.Error("a short answer was read")
	}
}
