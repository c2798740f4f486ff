//go:build linux

package resolved

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

// fakeResolved answers on a socket as the message bus with systemd-resolved behind it does: the
// wire format is real.
type fakeResolved struct {
	t       *testing.T
	address string

	mu      sync.Mutex
	serial  uint32
	absent  bool
	refuse  map[string]string // the error by method
	domains []domain
	calls   []string
}

func newFake(t *testing.T) *fakeResolved {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus") // short: a socket's path
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeResolved{t: t, address: "unix:path=" + path, refuse: map[string]string{}, domains: []domain{}}
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		os.RemoveAll(dir)
	})
	return f
}

// set changes what is answered.
func (f *fakeResolved) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// took returns the calls since it was asked last.
func (f *fakeResolved) took() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := strings.Join(f.calls, "\n")
	f.calls = nil
	return all
}

// serve does the server's side of the authentication and then answers calls.
func (f *fakeResolved) serve(c *net.UnixConn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch line = strings.TrimLeft(line, "\x00"); {
		case strings.HasPrefix(line, "AUTH EXTERNAL"):
			_, _ = c.Write([]byte("OK 0123456789abcdef0123456789abcdef\r\n"))
		case strings.HasPrefix(line, "AUTH"):
			_, _ = c.Write([]byte("REJECTED EXTERNAL\r\n"))
		case strings.HasPrefix(line, "NEGOTIATE_UNIX_FD"):
			_, _ = c.Write([]byte("ERROR\r\n"))
		case strings.HasPrefix(line, "BEGIN"):
			for {
				m, err := dbus.DecodeMessage(r)
				if err != nil {
					return
				}
				f.answer(c, m)
			}
		}
	}
}

func (f *fakeResolved) answer(c *net.UnixConn, m *dbus.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	member, _ := m.Headers[dbus.FieldMember].Value().(string)
	reply := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(m.Serial()),
	}}
	if member == "Hello" {
		f.send(c, reply, ":1.7")
		return
	}
	f.calls = append(f.calls, fmt.Sprint(member, m.Body))
	if m.Flags&dbus.FlagNoAutoStart == 0 {
		f.t.Errorf("%s would start systemd-resolved", member)
	}
	refuse := f.refuse[member]
	if f.absent {
		refuse = "org.freedesktop.DBus.Error.ServiceUnknown"
	}
	switch {
	case refuse != "":
		reply.Type = dbus.TypeError
		reply.Headers[dbus.FieldErrorName] = dbus.MakeVariant(refuse)
		f.send(c, reply, "no")
	case member == "Get":
		f.send(c, reply, dbus.MakeVariant(f.domains))
	default:
		if member == "SetLinkDomains" {
			f.keep(m.Body)
		}
		f.send(c, reply)
	}
}

// keep remembers a link's domains. The caller holds mu.
func (f *fakeResolved) keep(body []any) {
	var index int32
	var routes []route
	if err := dbus.Store(body, &index, &routes); err != nil {
		f.t.Error(err)
	}
	for _, r := range routes {
		f.domains = append(f.domains, domain{index, r.Name, r.RouteOnly})
	}
}

func (f *fakeResolved) send(c *net.UnixConn, m *dbus.Message, body ...any) {
	m.Body = body
	if len(body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	f.serial++
	var b bytes.Buffer
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		f.t.Error(err)
	}
	binary.LittleEndian.PutUint32(b.Bytes()[8:], f.serial) // the library has no setter
	_, _ = c.Write(b.Bytes())
}
