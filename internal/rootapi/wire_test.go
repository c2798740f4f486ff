package rootapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
)

// connected returns both ends of a connection as the helper's socket makes them.
func connected(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*net.UnixConn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		conn, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = conn.(*net.UnixConn)
		t.Cleanup(func() { conn.Close() })
	}
	return ends[0], ends[1]
}

// noLeak fails if there are more descriptors after the test than now.
func noLeak(t *testing.T) {
	t.Helper()
	before := descriptors(t)
	t.Cleanup(func() {
		if after := descriptors(t); after > before {
			t.Errorf("%d descriptors became %d", before, after)
		}
	})
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func null(t *testing.T, n int) []*os.File {
	t.Helper()
	var files []*os.File
	for range n {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		files = append(files, f)
	}
	return files
}

// raw sends bytes and descriptors as they are.
func raw(t *testing.T, c *net.UnixConn, data []byte, files []*os.File) {
	t.Helper()
	var rights []byte
	if len(files) > 0 {
		var fds []int
		for _, f := range files {
			fds = append(fds, int(f.Fd()))
		}
		rights = unix.UnixRights(fds...)
	}
	if _, _, err := c.WriteMsgUnix(data, rights, nil); err != nil {
		t.Fatal(err)
	}
}

func TestMessagesArriveWithTheirFiles(t *testing.T) {
	noLeak(t)
	a, b := connected(t)
	sent := Request{Protocol: protocol, Version: "1.2.3", Verb: VMKill, Body: json.RawMessage(`{"id":"` + id + `"}`)}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := Send(a, sent, []*os.File{w, r}); err != nil {
		t.Fatal(err)
	}
	got, files, err := ReadRequest(b)
	defer CloseAll(files)
	if err != nil || got.Verb != sent.Verb || got.Version != sent.Version || !bytes.Equal(got.Body, sent.Body) || len(files) != 2 {
		t.Fatalf("%+v, %d files, %v", got, len(files), err)
	}
	if _, err := files[0].WriteString("x"); err != nil {
		t.Error(err)
	}
	data := make([]byte, 1)
	if _, err := r.Read(data); err != nil || data[0] != 'x' {
		t.Errorf("%q, %v", data, err)
	}
	for _, f := range files {
		if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("a program that is started would inherit it: %v", err)
		}
	}
}

func TestBadMessagesAreRefused(t *testing.T) {
	good, err := json.Marshal(Request{Protocol: protocol, Verb: List})
	if err != nil {
		t.Fatal(err)
	}
	const most = 253 // SCM_MAX_FD, unix(7)
	for name, c := range map[string]struct {
		data  []byte
		files int
	}{
		"too long by one":                 {append(bytes.Repeat([]byte(" "), maxRequest+1-len(good)), good...), 0},
		"far too long":                    {bytes.Repeat([]byte(" "), 100<<10), 0},
		"too long, with files":            {bytes.Repeat([]byte(" "), 100<<10), 2},
		"a file too many":                 {good, maxFiles + 1},
		"more files than there is room":   {good, maxFiles + 2},
		"as many files as the kernel has": {good, most},
		"no JSON, with files":             {[]byte("x"), 2},
		"an unknown field":                {[]byte(`{"protocol":"1","verb":"list","path":"/"}`), 1},
		"something behind":                {append(append([]byte{}, good...), "{}"...), 1},
		"a bracket behind":                {append(append([]byte{}, good...), '}'), 1},
		"another bracket behind":          {append(append([]byte{}, good...), ']'), 0},
		"a list":                          {[]byte(`[]`), 0},
		"a verb that is a number":         {[]byte(`{"protocol":"1","verb":1}`), 0},
		"deep nesting":                    {bytes.Repeat([]byte(`[`), maxRequest), 0},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := connected(t)
			files := null(t, c.files)
			raw(t, a, c.data, files)
			before := descriptors(t)
			got, received, err := ReadRequest(b)
			if api.KindOf(err) != api.KindInvalid || len(received) != 0 {
				t.Errorf("%+v, %d files, %v", got, len(received), err)
			}
			if after := descriptors(t); after != before {
				t.Errorf("%d descriptors became %d", before, after)
			}
		})
	}
}

func TestLongestMessages(t *testing.T) {
	a, b := connected(t)
	good, err := json.Marshal(Request{Protocol: protocol, Verb: List})
	if err != nil {
		t.Fatal(err)
	}
	raw(t, a, append(bytes.Repeat([]byte(" "), maxRequest-len(good)), good...), null(t, maxFiles))
	_, files, err := ReadRequest(b)
	if err != nil || len(files) != maxFiles {
		t.Errorf("%d files, %v", len(files), err)
	}
	CloseAll(files)
	if err := Send(a, strings.Repeat("x", MaxMessage), nil); api.KindOf(err) != api.KindInvalid {
		t.Errorf("too long to be sent: %v", err)
	}
}

// TestAnswerOfManyObjects: more than what a socket takes as the kernel sets it up.
func TestAnswerOfManyObjects(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root, as the helper is, may send such long messages")
	}
	a, b := connected(t)
	var list ListAnswer
	for i := range 12000 {
		list.Objects = append(list.Objects, Object{Kind: KindProcess, Name: "1234567 (firecracker)", ID: id[:11] + string("0123456789abcdef"[i%16])})
	}
	if err := Send(a, NewResponse("1", list, nil), nil); err != nil {
		t.Fatal(err)
	}
	r, _, err := ReadResponse(b)
	var got ListAnswer
	if err != nil || json.Unmarshal(r.Body, &got) != nil || len(got.Objects) != len(list.Objects) {
		t.Errorf("%d objects, %v", len(got.Objects), err)
	}
}

func TestEndIsNoMessage(t *testing.T) {
	a, b := connected(t)
	a.Close()
	if _, _, err := ReadRequest(b); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestWhatEndsAWait: who waits for a message is told why there is none.
func TestWhatEndsAWait(t *testing.T) {
	a, b := connected(t)
	if err := b.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadRequest(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("too late: %v", err)
	}
	if err := b.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	raw(t, b, []byte("not read"), nil)
	a.Close()
	if _, _, err := ReadRequest(b); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the other end went and did not read: %v", err)
	}
}

func TestOtherProtocolIsNamed(t *testing.T) {
	a, b := connected(t)
	// One of the future has fields that this one does not know.
	raw(t, a, []byte(`{"protocol":"2","version":"9.9.9","verb":{"new":true},"deadline":5}`), nil)
	r, _, err := ReadRequest(b)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(err error, versions ...string) {
		t.Helper()
		if api.KindOf(err) != api.KindUnsupported || api.AsError(err).Hint == "" {
			t.Error(err)
		}
		for _, v := range versions {
			if !strings.Contains(err.Error(), v) {
				t.Errorf("%v does not name %s", err, v)
			}
		}
	}
	refused(r.CheckProtocol("1.0.0"), "bangerd 9.9.9", "bangerd-root 1.0.0")
	raw(t, b, []byte(`{"protocol":"2","version":"9.9.9","body":{},"more":1}`), null(t, 1))
	answer, files, err := ReadResponse(a)
	if err != nil {
		t.Fatal(err)
	}
	CloseAll(files)
	refused((&Client{Version: "1.0.0"}).judge(answer, nil), "bangerd 1.0.0", "bangerd-root 9.9.9")
	if err := (Request{Protocol: protocol}).CheckProtocol("x"); err != nil {
		t.Error(err)
	}
	refused(Request{}.CheckProtocol("1.0.0"))
}

func TestErrorsKeepKindAndHint(t *testing.T) {
	a, b := connected(t)
	if err := Send(a, NewResponse("1", nil, api.Errorf(api.KindConflict, "VM runs").WithHint("stop it")), nil); err != nil {
		t.Fatal(err)
	}
	r, _, err := ReadResponse(b)
	if err != nil {
		t.Fatal(err)
	}
	err = (&Client{}).judge(r, nil)
	if e := api.AsError(err); e.Kind != api.KindConflict || e.Hint != "stop it" || e.Message != "VM runs" {
		t.Errorf("%+v", e)
	}
}

func TestTheLongestAnswer(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root, as the helper is, may send such long messages")
	}
	a, b := connected(t)
	long := Response{Protocol: protocol}
	data, err := json.Marshal(long)
	if err != nil {
		t.Fatal(err)
	}
	long.Version = strings.Repeat("v", MaxMessage-len(data))
	if err := Send(a, long, nil); err != nil {
		t.Fatal(err)
	}
	if got, _, err := ReadResponse(b); err != nil || got.Version != long.Version {
		t.Errorf("%d bytes, %v", len(got.Version), err)
	}
}

func TestVersionsThatAreNone(t *testing.T) {
	var r Request
	if err := decodeEnvelope([]byte(`{"protocol":"2","version":5}`), &r); api.KindOf(err) != api.KindInvalid {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestRightsBehindCredentials: what else the kernel may add hides no descriptor, which
// would be left open.
func TestRightsBehindCredentials(t *testing.T) {
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	files, err := parseRights(append(unix.UnixCredentials(&unix.Ucred{}), unix.UnixRights(fd)...))
	defer CloseAll(files)
	if err != nil || len(files) != 1 || int(files[0].Fd()) != fd {
		t.Errorf("%d files, %v", len(files), err)
	}
	cut := make([]byte, unix.SizeofCmsghdr)
	cut[0] = 200 // its length
	if files, err := parseRights(cut); err == nil {
		t.Errorf("%v of a control message that is cut off", files)
	}
}

func TestWhatCannotBeSaid(t *testing.T) {
	if r := NewResponse("1", make(chan int), nil); r.Error == nil || len(r.Body) != 0 {
		t.Errorf("%+v", r)
	}
	a, _ := connected(t)
	if err := Send(a, make(chan int), nil); err == nil {
		t.Error("something was sent")
	}
	var answer HelloAnswer
	if err := (&Client{}).judge(Response{Protocol: protocol, Body: json.RawMessage(`[`)}, &answer); api.KindOf(err) != api.KindInternal {
		t.Error(err)
	}
}

func TestACallWithoutContent(t *testing.T) {
	if _, err := Decode[HelloCall](Request{}, 0); err != nil {
		t.Error(err)
	}
}
