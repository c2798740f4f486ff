package fcapi

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
)

// listen serves a Unix socket with f and returns a client of it.
func listen(t *testing.T, f func(net.Conn)) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				f(conn)
			}()
		}
	}()
	return New(func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", path) })
}

// firecracker answers as the real one does.
func firecracker(asked chan<- string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"id":"0123456789ab","state":"Running","vmm_version":"1.14.2","app_name":"Firecracker","more":1}`)
	})
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"firecracker_version":"1.14.2"}`)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked <- r.Method + " " + r.URL.Path + " " + string(body)
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

func TestRequests(t *testing.T) {
	asked := make(chan string, 8)
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: firecracker(asked)}
	go server.Serve(l)
	defer server.Close()
	c := New(func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", path) })
	ctx := t.Context()
	if info, err := c.Info(ctx); err != nil || info != (Info{"0123456789ab", Running, "1.14.2", "Firecracker"}) {
		t.Errorf("%+v, %v", info, err)
	}
	if version, err := c.Version(ctx); err != nil || version != "1.14.2" {
		t.Errorf("%s, %v", version, err)
	}
	for want, do := range map[string]func(context.Context) error{
		`PATCH /vm {"state":"Paused"}`: c.Pause, `PATCH /vm {"state":"Resumed"}`: c.Resume,
	} {
		if err := do(ctx); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		if got := <-asked; got != want {
			t.Errorf("asked %s, want %s", got, want)
		}
	}
}

// TestRefusal: what Firecracker says of it is passed on, without its control characters.
func TestRefusal(t *testing.T) {
	body := `{"fault_message":"no \u001b[31mmachine\n"}`
	c := listen(t, once(fmt.Sprintf("HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%s", len(body), body)))
	err := c.Pause(t.Context())
	const want = "cannot pause the machine: Firecracker refuses with status 400: no  [31mmachine "
	if err == nil || err.Error() != want || api.KindOf(err) != api.KindConflict {
		t.Errorf("%v, want %s", err, want)
	}
}

// endless writes a piece again and again until nobody reads it.
func endless(head, piece string) func(net.Conn) {
	return func(conn net.Conn) {
		_, err := io.WriteString(conn, head)
		for err == nil {
			_, err = io.WriteString(conn, piece)
		}
	}
}

// once answers the first request.
func once(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.ReadAtLeast(conn, make([]byte, 4096), 1)
		_, _ = io.WriteString(conn, text)
	}
}

func TestHostileReplies(t *testing.T) {
	big := strings.Repeat("x", 4096)
	for name, c := range map[string]struct {
		f    func(net.Conn)
		want string
	}{
		"nothing":             {once(""), "cannot be read"},
		"garbage":             {once("\x00\x01\x02garbage\n\n"), "cannot be read"},
		"a head cut off":      {once("HTTP/1.1 200 OK\r\nContent-Le"), "cannot be read"},
		"a body cut off":      {once("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), "cannot be read"},
		"no JSON":             {once("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), "is not understood"},
		"another JSON":        {once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"), "is not understood"},
		"a redirection":       {once("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"), "status 302"},
		"an endless head":     {endless("HTTP/1.1 200 OK\r\n", "X: "+big+"\r\n"), "longer than 64 KiB"},
		"an endless line":     {endless("HTTP/1.1 200 OK\r\nX: ", big), "longer than 64 KiB"},
		"an endless body":     {endless("HTTP/1.1 200 OK\r\n\r\n", big), "longer than 64 KiB"},
		"endless chunks":      {endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"), "longer than 64 KiB"},
		"a huge announcement": {endless("HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", big), "longer than 64 KiB"},
		"an endless fault":    {endless("HTTP/1.1 400 Bad\r\n\r\n", big), "longer than 64 KiB"},
		"a long fault":        {once("HTTP/1.1 400 Bad\r\nContent-Length: 4096\r\n\r\n" + big), "xxx…"},
	} {
		_, err := listen(t, c.f).Info(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), "cannot ask for the machine's state: ") || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 600 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoAnswer(t *testing.T) {
	c := listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := c.Pause(ctx); api.KindOf(err) != api.KindTimeout {
		t.Errorf("%v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if err := c.Pause(ctx); api.KindOf(err) != api.KindCanceled {
		t.Errorf("%v", err)
	}
	gone := New(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(t.TempDir(), "absent"))
	})
	if err := gone.Resume(t.Context()); api.KindOf(err) != api.KindInternal {
		t.Errorf("%v", err)
	}
}

func FuzzReply(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
	f.Fuzz(func(t *testing.T, answer string) {
		req, err := request(t.Context(), http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		var info Info
		if err := reply(strings.NewReader(answer), req, &info); err != nil && len(err.Error()) > 2000 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}
