//go:build linux

package netns

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestNothingIsLeftBehind counts descriptors, and asks every thread where it is.
func TestNothingIsLeftBehind(t *testing.T) {
	needsRoot(t)
	round := func() {
		m, err := New(Options{Pool: 2})
		if err != nil {
			t.Fatal(err)
		}
		m.Fill()
		for i := range 3 {
			if err := m.Attach(context.Background(), plan(t, i)); err != nil {
				t.Error(err)
			}
		}
		for i := range 3 {
			if err := m.Detach(context.Background(), plan(t, i).ID); err != nil {
				t.Error(err)
			}
		}
		m.Close()
	}
	round()
	runtime.GC()
	before := descriptors(t)
	for range 3 {
		round()
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors were open, and now %d", before, after)
	}
	home := must(os.Readlink("/proc/self/ns/net"))
	for _, task := range must(filepath.Glob("/proc/self/task/*/ns/net")) {
		if at, err := os.Readlink(task); err == nil && at != home {
			t.Errorf("%s is %s, not %s", task, at, home)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestReadyNamespacesEndWithTheirDescriptors joins one to the host: the link goes
// when the namespace does. A helper that is killed closes them just so.
func TestReadyNamespacesEndWithTheirDescriptors(t *testing.T) {
	needsRoot(t)
	m := newManager(t, 0)
	s, err := m.makeSpace(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "witness"
	if err := m.host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "x", PeerNamespace: netlink.NsFd(s.ns.Fd())}); err != nil {
		t.Fatal(err)
	}
	events, stop := make(chan netlink.LinkUpdate), make(chan struct{})
	if err := netlink.LinkSubscribe(events, stop); err != nil {
		t.Fatal(err)
	}
	defer func() {
		close(stop)
		for range events { // until the subscription has ended
		}
	}()
	s.close()
	late := time.After(patience)
	for {
		select {
		case e := <-events:
			if e.Header.Type == unix.RTM_DELLINK && e.Attrs().Name == attrs.Name {
				return
			}
		case <-late:
			t.Fatal("the namespace lives on")
		}
	}
}

func TestAPoolFillsItselfAgain(t *testing.T) {
	needsRoot(t)
	made := make(chan *space)
	var p pool
	p.init(2, func(ctx context.Context) (*space, error) {
		s := &space{}
		select {
		case made <- s:
			return s, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, nil)
	p.fill()
	defer p.close()
	first, second := <-made, <-made
	got := must(p.take(context.Background())) // may come before the second is stored
	if got != first && got != second {
		t.Error("it is none of those that were made")
	}
	<-made
}
