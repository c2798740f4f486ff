package names

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"banger/api"
	"banger/internal/rootapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeHelper hands out sockets of the loopback address.
type fakeHelper struct {
	t      *testing.T
	refuse atomic.Int32 // how often it fails first
	link   atomic.Int32
	at     chan [2]string // where it listens: UDP, TCP
}

func (h *fakeHelper) Do(_ context.Context, call rootapi.Call, answer any, _ ...*os.File) ([]*os.File, error) {
	if h.refuse.Add(-1) >= 0 {
		return nil, errors.New("unknown verb")
	}
	*answer.(*rootapi.NamesAnswer) = rootapi.NamesAnswer{Outer: netip.MustParsePrefix("10.213.0.0/16"), Link: int(h.link.Load())}
	if c, ok := call.(rootapi.NamesCall); !ok {
		h.t.Errorf("asked for %+v", call)
	} else if !c.Sockets {
		return nil, nil
	}
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer tcp.Close()
	one, err := udp.(*net.UDPConn).File()
	if err != nil {
		return nil, err
	}
	other, err := tcp.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	h.at <- [2]string{udp.LocalAddr().String(), tcp.Addr().String()}
	return []*os.File{one, other}, nil
}

// start runs a service whose VMs are those of find, and returns where it answers.
func start(t *testing.T, refuse int32, find func(string) (api.VM, error)) (udp, tcp string) {
	t.Helper()
	at := <-startWith(t, refuse, find).at
	return at[0], at[1]
}

func startWith(t *testing.T, refuse int32, find func(string) (api.VM, error)) *fakeHelper {
	t.Helper()
	h := &fakeHelper{t: t, at: make(chan [2]string, 1)}
	h.refuse.Store(refuse)
	s := &Service{Helper: h, Find: find, Log: slog.New(slog.DiscardHandler), retry: time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return h
}

// TestAnotherLink: the helper made another link, and the service gets sockets of that.
func TestAnotherLink(t *testing.T) {
	h := startWith(t, 0, func(string) (api.VM, error) { return api.VM{}, errors.New("none") })
	first := <-h.at
	h.link.Store(8)
	second := <-h.at
	question := ask(t, "dev.vm.", dnsmessage.TypeA)
	if got := exchange(t, "udp", second[0], question); len(got) != 1 {
		t.Error("the new socket does not answer")
	}
	if conn, err := net.Dial("tcp", first[1]); err == nil {
		conn.Close()
		t.Error("the earlier socket is still open")
	}
}

func exchange(t *testing.T, network, at string, messages ...[]byte) (answers []dnsmessage.Message) {
	t.Helper()
	conn, err := net.Dial(network, at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	for _, m := range messages {
		if network == "tcp" {
			m = append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
		}
		if _, err := conn.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	for {
		buf := make([]byte, 65536)
		if network == "tcp" {
			if _, err := io.ReadFull(conn, buf[:2]); err != nil {
				return answers
			}
			buf = buf[:binary.BigEndian.Uint16(buf)]
		}
		n, err := conn.Read(buf)
		if err != nil {
			return answers
		}
		if answers = append(answers, read(t, buf[:n])); len(answers) == len(messages) {
			return answers
		}
	}
}

func TestServiceFollowsTheRecords(t *testing.T) {
	var vm atomic.Pointer[api.VM]
	udp, tcp := start(t, 3, func(name string) (api.VM, error) {
		if v := vm.Load(); v != nil && (v.Name == name || v.ID == name) {
			return *v, nil
		}
		return api.VM{}, api.Errorf(api.KindNotFound, "no VM")
	})
	asked := func(name string) (found string) {
		t.Helper()
		for network, at := range map[string]string{"udp": udp, "tcp": tcp} {
			m := exchange(t, network, at, ask(t, name, dnsmessage.TypeA))
			one := "no answer"
			if len(m) == 1 && len(m[0].Answers) == 1 {
				one = netip.AddrFrom4(m[0].Answers[0].Body.(*dnsmessage.AResource).A).String()
			} else if len(m) == 1 {
				one = m[0].RCode.String()
			}
			if found != "" && one != found {
				t.Errorf("by one way %s, by the other %s", found, one)
			}
			found = one
		}
		return found
	}
	const unknown = "RCodeNameError"
	running := api.VM{ID: "0123456789ab", Name: "dev", Slot: 3, State: api.StateRunning, PID: 7}
	with := func(change func(*api.VM)) *api.VM { v := running; change(&v); return &v }
	for _, test := range []struct {
		vm         *api.VM
		name, want string
	}{
		{nil, "dev.vm.", unknown},
		{&running, "dev.vm.", "10.213.0.7"},
		{&running, "0123456789ab.vm.", unknown},
		{with(func(v *api.VM) { v.Name = "web" }), "dev.vm.", unknown},
		{with(func(v *api.VM) { v.Name = "web" }), "web.banger.", "10.213.0.7"},
		{with(func(v *api.VM) { v.State = api.StatePaused }), "dev.vm.", "10.213.0.7"},
		{with(func(v *api.VM) { v.State, v.PID = api.StateStopped, 0 }), "dev.vm.", unknown},
		{with(func(v *api.VM) { v.Network = api.NetworkIsolated }), "dev.vm.", "10.213.0.7"},
		{with(func(v *api.VM) { v.Network = api.NetworkNone }), "dev.vm.", unknown},
	} {
		vm.Store(test.vm)
		if got := asked(test.name); got != test.want {
			t.Errorf("%s of %+v: %s", test.name, test.vm, got)
		}
	}
}

// TestHostilePackets: what is no question is not answered, and the next question is.
func TestHostilePackets(t *testing.T) {
	udp, tcp := start(t, 0, func(string) (api.VM, error) { return api.VM{}, errors.New("none") })
	question := ask(t, "dev.vm.", dnsmessage.TypeA)
	conn, err := net.Dial("udp", udp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	huge := append(append([]byte{}, question...), make([]byte, 9000)...)
	for _, junk := range [][]byte{{}, {1}, make([]byte, 11), huge, question} {
		if _, err := conn.Write(junk); err != nil {
			t.Fatal(err)
		}
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 65536)
	n, err := conn.Read(buf)
	if err != nil || read(t, buf[:n]).RCode != dnsmessage.RCodeNameError {
		t.Errorf("%x, %v", buf[:n], err)
	}
	if got := exchange(t, "tcp", tcp, question, question, []byte{1}, question); len(got) != 2 {
		t.Errorf("%d answers before and after junk", len(got))
	}
	// Idle connections leave room for one more.
	for range maxConns - 1 {
		idle, err := net.Dial("tcp", tcp)
		if err != nil {
			t.Fatal(err)
		}
		defer idle.Close()
	}
	if got := exchange(t, "tcp", tcp, question); len(got) != 1 {
		t.Error("no answer beside idle connections")
	}
}

// TestAnotherClient: Go's own resolver understands the answers, by UDP and by TCP.
func TestAnotherClient(t *testing.T) {
	udp, tcp := start(t, 0, func(name string) (api.VM, error) {
		if name != "dev" {
			return api.VM{}, errors.New("no VM")
		}
		return api.VM{ID: "0123456789ab", Name: "dev", Slot: 3, State: api.StateRunning, PID: 7}, nil
	})
	for network, at := range map[string]string{"udp": udp, "tcp": tcp} {
		r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, at)
		}}
		got, err := r.LookupNetIP(t.Context(), "ip", "dev.vm.") // A and AAAA
		if err != nil || len(got) != 1 || got[0].Unmap() != devAddress {
			t.Errorf("%s: %v, %v", network, got, err)
		}
		var unknown *net.DNSError
		if _, err := r.LookupNetIP(t.Context(), "ip", "nobody.vm."); !errors.As(err, &unknown) || !unknown.IsNotFound {
			t.Errorf("%s: %v", network, err)
		}
	}
}
