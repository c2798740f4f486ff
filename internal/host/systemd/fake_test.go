package systemd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// fakePID1 answers on a socket as systemd's private one does: the wire format
// is real, descriptors included.
type fakePID1 struct {
	t       *testing.T
	address string

	mu       sync.Mutex
	conns    []*net.UnixConn
	serial   uint32
	result   string            // of the next job; empty: it does not end
	refuse   map[string]string // the error by method
	dropNext bool              // breaks the connection instead of the next answer
	state    map[string]dbus.Variant
	units    []listed
	calls    []string
	started  any        // the last transient unit's properties
	files    []*os.File // descriptors that arrived
}

// listed is what systemd tells of a unit in a list.
type listed struct {
	Name, Description, Load, Active, Sub, Following string
	Path                                            dbus.ObjectPath
	JobID                                           uint32
	JobType                                         string
	JobPath                                         dbus.ObjectPath
}

func newFake(t *testing.T) *fakePID1 {
	t.Helper()
	dir, err := os.MkdirTemp("", "pid1") // short: a socket's path
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	f := &fakePID1{t: t, address: "unix:path=" + path, result: "done", refuse: map[string]string{}, state: map[string]dbus.Variant{}, units: []listed{}}
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
		f.drop()
		os.RemoveAll(dir)
	})
	return f
}

func (f *fakePID1) bus() *Bus {
	b := &Bus{dial: func(ctx context.Context) (*link, error) { return newLink(ctx, f.address, false) }}
	f.t.Cleanup(b.Close)
	return b
}

// set changes what is answered.
func (f *fakePID1) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// drop breaks all connections.
func (f *fakePID1) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.Close()
	}
	f.conns = nil
}

// serve does the server's side of the authentication and then answers calls.
func (f *fakePID1) serve(c *net.UnixConn) {
	w := &withFiles{UnixConn: c, fake: f}
	one := bufio.NewReaderSize(&singly{w}, 16)
	for {
		line, err := one.ReadString('\n')
		if err != nil {
			c.Close()
			return
		}
		switch line = strings.TrimLeft(line, "\x00"); {
		case strings.HasPrefix(line, "AUTH EXTERNAL"):
			_, _ = c.Write([]byte("OK 0123456789abcdef0123456789abcdef\r\n"))
		case strings.HasPrefix(line, "AUTH"):
			_, _ = c.Write([]byte("REJECTED EXTERNAL\r\n"))
		case strings.HasPrefix(line, "NEGOTIATE_UNIX_FD"):
			_, _ = c.Write([]byte("AGREE_UNIX_FD\r\n"))
		case strings.HasPrefix(line, "BEGIN"):
			f.mu.Lock()
			f.conns = append(f.conns, c)
			f.mu.Unlock()
			for {
				m, err := dbus.DecodeMessage(w)
				if err != nil {
					c.Close()
					return
				}
				f.answer(c, m)
			}
		}
	}
}

// answer answers one call. The end of a job comes before the answer to the call
// that started it: the worst order, and a usual one.
func (f *fakePID1) answer(c *net.UnixConn, m *dbus.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	member, _ := m.Headers[dbus.FieldMember].Value().(string)
	call := member
	if len(m.Body) > 0 {
		if first, ok := m.Body[0].(string); ok {
			call += " " + first
		}
	}
	f.calls = append(f.calls, call)
	if f.dropNext {
		f.dropNext = false
		c.Close()
		return
	}
	reply := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(m.Serial()),
	}}
	if e := f.refuse[member]; e != "" {
		reply.Type = dbus.TypeError
		reply.Headers[dbus.FieldErrorName] = dbus.MakeVariant(e)
		f.send(c, reply, "no")
		return
	}
	switch member {
	case "StartTransientUnit", "StartUnit", "StopUnit", "RestartUnit":
		if member == "StartTransientUnit" {
			f.started = m.Body[2]
		}
		job := dbus.ObjectPath("/org/freedesktop/systemd1/job/7")
		if f.result != "" {
			f.send(c, signal("JobRemoved"), uint32(7), dbus.ObjectPath("/org/freedesktop/systemd1/job/6"), m.Body[0], "canceled")
			f.send(c, signal("JobRemoved"), uint32(7), job, m.Body[0], f.result)
		}
		f.send(c, reply, job)
	case "GetAll":
		f.send(c, reply, f.state)
	case "Get":
		property, _ := m.Body[1].(string)
		value, known := f.state[property]
		if !known && property == "ActiveState" {
			value = dbus.MakeVariant(f.active())
		}
		f.send(c, reply, value)
	case "EnableUnitFiles":
		f.send(c, reply, true, [][]string{})
	case "ListUnitsByPatterns":
		f.send(c, reply, f.units)
	default:
		f.send(c, reply)
	}
}

// active is the state of a unit that did what was asked last. The caller holds mu.
func (f *fakePID1) active() string {
	for _, call := range slices.Backward(f.calls) {
		if strings.HasPrefix(call, "StopUnit") {
			return "inactive"
		}
		if strings.HasPrefix(call, "Start") || strings.HasPrefix(call, "RestartUnit") {
			break
		}
	}
	return "active"
}

func signal(member string) *dbus.Message {
	return &dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(root), dbus.FieldInterface: dbus.MakeVariant(manager), dbus.FieldMember: dbus.MakeVariant(member),
	}}
}

func (f *fakePID1) send(c *net.UnixConn, m *dbus.Message, body ...any) {
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

// singly reads byte by byte, so that nothing behind BEGIN is swallowed.
type singly struct{ r *withFiles }

func (s *singly) Read(p []byte) (int, error) { return s.r.Read(p[:1]) }

// withFiles keeps the descriptors that come with what is read.
type withFiles struct {
	*net.UnixConn
	fake *fakePID1
}

func (w *withFiles) Read(p []byte) (int, error) {
	oob := make([]byte, 256)
	n, oobn, _, _, err := w.ReadMsgUnix(p, oob)
	if messages, e := unix.ParseSocketControlMessage(oob[:oobn]); e == nil {
		for _, m := range messages {
			fds, _ := unix.ParseUnixRights(&m)
			for _, fd := range fds {
				w.fake.mu.Lock()
				w.fake.files = append(w.fake.files, os.NewFile(uintptr(fd), "received"))
				w.fake.mu.Unlock()
			}
		}
	}
	return n, err
}
