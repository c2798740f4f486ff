package guest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
	"banger/internal/host/userns"
)

func TestMain(m *testing.M) {
	childMain()
	userns.Main(map[string]userns.Job{jobFullDisk: runFullDisk})
	goleak.VerifyTestMain(m)
}

func newClient(t *testing.T) (*guest.Client, string) {
	t.Helper()
	root := t.TempDir()
	link := connect(t, startAgent(t, agent.Options{Root: root}))
	return &guest.Client{Dial: link.Open}, root
}

func exec(t *testing.T, c *guest.Client, e api.Exec) *guest.Session {
	t.Helper()
	s, err := c.Exec(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestExitStatus(t *testing.T) {
	c, root := newClient(t)
	if err := os.WriteFile(filepath.Join(root, "plain"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		exec   api.Exec
		code   int
		out    string
		stderr string // part of it
		kind   api.Kind
	}{
		{exec: api.Exec{Argv: []string{"sh", "-c", "exit 7"}}, code: 7},
		{exec: api.Exec{Argv: []string{"sh", "-c", "kill -TERM $$"}}, code: 143},
		{exec: api.Exec{Argv: []string{"no-such-thing"}}, code: 127, stderr: "no-such-thing: command not found"},
		{exec: api.Exec{Argv: []string{"/no/such"}}, code: 127, stderr: "command not found"},
		{exec: api.Exec{Argv: []string{"./plain"}}, code: 126, stderr: "permission denied"},
		{exec: api.Exec{Argv: []string{"pwd"}, Dir: "/nowhere"}, kind: api.KindInvalid},
		{exec: api.Exec{Argv: []string{"sh", "-c", "echo $A $HOME"}, Env: []string{"A=1", "HOME=/h"}}, out: "1 /h\n"},
		{exec: api.Exec{Argv: []string{"sh", "-c", "sleep 100 & echo started"}}, out: "started\n"},
	}
	for _, tt := range tests {
		s := exec(t, c, tt.exec)
		s.Stdin.Close()
		out, stderr, exit, err := result(t, s)
		if exit.Code != tt.code || out != tt.out || !strings.Contains(stderr, tt.stderr) || api.KindOf(err) != tt.kind {
			t.Errorf("%v: %q, %q, %v, %v", tt.exec.Argv, out, stderr, exit, err)
		}
	}
}

func TestTooLongCommandLine(t *testing.T) {
	c, _ := newClient(t)
	many := make([]string, 1<<20)
	for _, argv := range [][]string{{"echo", strings.Repeat("x", 1<<20)}, append(many, "aa")} {
		_, err := c.Exec(t.Context(), api.Exec{Argv: argv})
		if api.KindOf(err) == api.KindInvalid && errors.Is(err, syscall.E2BIG) {
			continue
		}
		if err == nil {
			t.Error("a command line of a megabyte was taken")
		}
	}
}

func TestSignalReachesABusyCommand(t *testing.T) {
	c, _ := newClient(t)
	s := exec(t, c, api.Exec{Argv: []string{"sh", "-c", "trap 'exit 9' INT; echo ready; while :; do sleep 0.05; done"}})
	go s.Stdin.Write(make([]byte, 10<<20)) // nobody reads it
	if _, err := io.ReadFull(s.Stdout, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	if err := s.SignalName("int"); err != nil {
		t.Fatal(err)
	}
	if _, _, exit, err := result(t, s); exit.Code != 9 || err != nil {
		t.Fatal(exit, err)
	}
}

func TestTerminal(t *testing.T) {
	c, _ := newClient(t)
	s := exec(t, c, api.Exec{Argv: []string{"sh", "-c", "stty size; read x; stty size; cat; echo over"}, TTY: true, Rows: 11, Cols: 22})
	if err := s.Resize(33, 44); err != nil {
		t.Fatal(err)
	}
	io.WriteString(s.Stdin, "go\n")
	await := func(want string, times int) {
		t.Helper()
		for out, b := "", make([]byte, 100); strings.Count(out, want) < times; {
			n, err := s.Stdout.Read(b)
			if err != nil {
				t.Fatalf("%q, %v", out, err)
			}
			out += string(b[:n])
		}
	}
	await("33 44", 1)
	// cat must run, which then says again what the terminal echoes: a shell that is
	// about to start a program may lose the signal.
	io.WriteString(s.Stdin, "ping\n")
	await("ping\r\n", 2)
	io.WriteString(s.Stdin, "\x03") // Ctrl-C is the terminal's business
	if out, _, exit, err := result(t, s); err != nil || exit.Code != 130 {
		t.Fatalf("%q, %v, %v", out, exit, err)
	}
	for _, input := range []string{"a line\n", "a line that is not ended", ""} {
		s = exec(t, c, api.Exec{Argv: []string{"cat"}, TTY: true})
		io.WriteString(s.Stdin, input)
		s.Stdin.Close()
		if out, _, exit, err := result(t, s); err != nil || exit.Code != 0 || !strings.Contains(out, strings.TrimSpace(input)) {
			t.Fatalf("%q: %q, %v, %v", input, out, exit, err)
		}
	}
}

func TestClosedSessionIsHungUp(t *testing.T) {
	c, root := newClient(t)
	s := exec(t, c, api.Exec{Argv: []string{"sh", "-c", "trap 'echo > hup; exit' HUP; echo ready; while :; do sleep 0.05; done"}})
	if _, err := io.ReadFull(s.Stdout, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(root, "hup")); err == nil {
			break
		}
		if time.Since(start) > 10*time.Second {
			t.Fatal("the command was not hung up")
		}
	}
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		h, err := c.Health(t.Context())
		if err != nil || time.Since(start) > 10*time.Second {
			t.Fatal(h, err)
		}
		if h.Sessions == 0 {
			return
		}
	}
}

func TestSlowReader(t *testing.T) {
	c, _ := newClient(t)
	s := exec(t, c, api.Exec{Argv: []string{"sh", "-c", "head -c 3000000 /dev/zero; echo end >&2"}})
	s.Stdin.Close()
	time.Sleep(1500 * time.Millisecond) // longer than the agent waits after an end
	out, stderr, exit, err := result(t, s)
	if len(out) != 3000000 || stderr != "end\n" || exit.Code != 0 || err != nil {
		t.Fatal(len(out), stderr, exit, err)
	}
}

func TestManySessions(t *testing.T) {
	c, _ := newClient(t)
	var work sync.WaitGroup
	for range 200 {
		work.Go(func() {
			s, err := c.Exec(context.Background(), api.Exec{Argv: []string{"cat"}})
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(s.Stdin, "\x00\xff binary")
			s.Stdin.Close()
			if out, _, exit, err := result(t, s); out != "\x00\xff binary" || exit.Code != 0 || err != nil {
				t.Error(out, exit, err)
			}
		})
	}
	work.Wait()
}

func TestCopyBothWays(t *testing.T) {
	c, root := newClient(t)
	local := t.TempDir()
	src := filepath.Join(local, "src")
	os.MkdirAll(filepath.Join(src, "sub"), 0o755)
	big := bytes.Repeat([]byte("0123456789"), 200000)
	os.WriteFile(filepath.Join(src, "sub", "big"), big, 0o640)
	os.Link(filepath.Join(src, "sub", "big"), filepath.Join(src, "hard"))
	os.Symlink("sub/big", filepath.Join(src, "soft"))
	ctx := t.Context()
	if err := c.CopyIn(ctx, src, "/there", guest.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.CopyIn(ctx, src, "/there", guest.CopyOptions{}); err != nil { // now into it
		t.Fatal(err)
	}
	for _, name := range []string{"there/soft", "there/hard", "there/src/sub/big"} {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || !bytes.Equal(got, big) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.CopyOut(ctx, "/there", filepath.Join(local, "back"), guest.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(local, "back", "src", "sub", "big"))
	if err != nil || info.Mode() != 0o640 || info.Size() != int64(len(big)) {
		t.Fatal(info, err)
	}
	if err := c.CopyOut(ctx, "/nothing", local, guest.CopyOptions{}); api.KindOf(err) != api.KindNotFound {
		t.Errorf("got %v", err)
	}
	if err := c.Put(ctx, "/nowhere", strings.NewReader(""), nil); api.KindOf(err) != api.KindNotFound {
		t.Errorf("got %v", err)
	}
	if err := c.Put(ctx, "/", strings.NewReader(strings.Repeat("x", 5<<20)), nil); err == nil {
		t.Error("garbage is no tar stream")
	}
}

// TestTerminalThatIsHeldOpen: a program in the background that keeps the terminal
// does not keep the session.
func TestTerminalThatIsHeldOpen(t *testing.T) {
	c, _ := newClient(t)
	began := time.Now()
	s := exec(t, c, api.Exec{Argv: []string{"sh", "-c", "trap '' HUP; sleep 30 & echo $!; exit 3"}, TTY: true})
	out, _, exit, err := result(t, s)
	if took := time.Since(began); err != nil || exit.Code != 3 || took > 15*time.Second {
		t.Errorf("%q, %v, %v after %v", out, exit, err, took)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}
