package cli

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"banger/api"
)

// TestMain makes this program banger itself when it is started as such.
func TestMain(m *testing.M) {
	if os.Getenv("BANGER_TEST_MAIN") != "" {
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// screen collects what a terminal shows.
type screen struct {
	mu   sync.Mutex
	cond *sync.Cond
	text bytes.Buffer
	over bool
}

func watch(r io.Reader) *screen {
	s := &screen{}
	s.cond = sync.NewCond(&s.mu)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			s.mu.Lock()
			s.text.Write(buf[:n])
			s.over = err != nil
			s.cond.Broadcast()
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return s
}

// await waits until the terminal has shown want.
func (s *screen) await(t *testing.T, want string) {
	t.Helper()
	late := time.AfterFunc(20*time.Second, func() {
		s.mu.Lock()
		s.over = true
		s.cond.Broadcast()
		s.mu.Unlock()
	})
	defer late.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !strings.Contains(s.text.String(), want) {
		if s.over {
			t.Fatalf("the terminal never showed %q but %q", want, s.text.String())
		}
		s.cond.Wait()
	}
}

// self is banger as a program of its own.
func self(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "BANGER_TEST_MAIN=1", "TERM=xterm")
	return cmd
}

// onTerminal starts banger on a terminal of 100 columns and 30 rows.
func onTerminal(t *testing.T, args ...string) (*exec.Cmd, *os.File, *os.File) {
	t.Helper()
	master, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); terminal.Close() })
	if err := pty.Setsize(master, &pty.Winsize{Rows: 30, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	cmd := self(t, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, master, terminal
}

// inShell starts banger on a terminal, and returns once the shell there answers.
func inShell(t *testing.T, args ...string) (*exec.Cmd, *os.File, *screen) {
	t.Helper()
	cmd, master, _ := onTerminal(t, args...)
	s := watch(master)
	_, _ = master.WriteString("echo in$((40+2))side\r")
	s.await(t, "in42side")
	return cmd, master, s
}

func mode(t *testing.T, f *os.File) unix.Termios {
	t.Helper()
	termios, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *termios
}

// A command on a terminal has the terminal's size, learns of a new one, gets
// Ctrl-C as its own, and leaves the terminal as it was.
func TestTerminal(t *testing.T) {
	w := newFixture(t)
	w.guest(t)
	cmd, master, terminal := onTerminal(t, "vm", "exec", "-t", "dev", "--", "sh", "-c",
		`trap 'stty size; echo resized' WINCH; trap 'echo caught' INT; stty size; echo $TERM ready; while read line; do echo "got $line"; [ "$line" = end ] && exit 5; done; while read line; do echo "got $line"; [ "$line" = end ] && exit 5; done; while read line; do [ "$line" = end ] && exit 5; done`)
	s := watch(master)
	s.await(t, "30 100\r\nxterm ready")
	if mode(t, terminal).Lflag&unix.ICANON != 0 {
		t.Error("the terminal is not raw while the command runs")
	}
	if err := pty.Setsize(master, &pty.Winsize{Rows: 40, Cols: 120}); err != nil {
		t.Fatal(err)
	}
	s.await(t, "40 120\r\nresized")
	_, _ = master.WriteString("\x03")
	s.await(t, "caught")
	_, _ = master.WriteString("end\r")
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("ended with %v", err)
	}
	if mode(t, terminal).Lflag&unix.ICANON == 0 {
		t.Error("the terminal is still raw")
	}
}

// However banger ends, the terminal is as it was.
func TestTerminalIsRestoredAfterASignal(t *testing.T) {
	w := newFixture(t)
	w.guest(t)
	cmd, master, terminal := onTerminal(t, "vm", "exec", "-t", "dev", "--", "sh", "-c", "echo ready; exec sleep 30")
	s := watch(master)
	s.await(t, "ready")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 128+15 {
		t.Errorf("ended with %v", err)
	}
	if mode(t, terminal).Lflag&unix.ICANON == 0 {
		t.Error("the terminal is still raw")
	}
}

// A shell takes what is typed and ends banger with its own status.
func TestShellOnATerminal(t *testing.T) {
	w := newFixture(t)
	w.guest(t)
	cmd, master, _ := inShell(t, "vm", "shell", "dev")
	_, _ = master.WriteString("exit 9\r")
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 9 {
		t.Errorf("ended with %v", err)
	}
}

// A shell goes on in its VM when that is renamed, and is left under the new name.
func TestShellOfARenamedVM(t *testing.T) {
	w := newFixture(t)
	w.guest(t)
	cmd, master, s := inShell(t, "vm", "shell", "dev")
	w.rename("web")
	_, _ = master.WriteString("echo still$((40+2))\r")
	s.await(t, "still42")
	_, _ = master.WriteString("\x1dd")
	s.await(t, "detached; the command keeps running. To attach again: banger vm attach web ")
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

// A VM of `vm run --rm` whose command was left goes on with it.
func TestLeftWithRm(t *testing.T) {
	w := newFixture(t)
	w.creating(&api.CreateVM{})
	w.guest(t)
	cmd, master, s := inShell(t, "vm", "run", "--rm")
	_, _ = master.WriteString("\x1dd")
	s.await(t, "detached; the command keeps running. To attach again: banger vm attach ")
	s.await(t, "will be removed when it stops")
	if err := cmd.Wait(); err != nil || strings.Contains(w.called(), "DELETE") {
		t.Errorf("ended with %v; asked\n%s", err, w.called())
	}
}

// mute adds a VM whose guest takes everything and answers nothing.
func (w *fixture) mute() {
	w.HandleFunc("POST /v1/vms/{vm}/stream", func(rw http.ResponseWriter, r *http.Request) {
		client, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		defer client.Close()
		_, _ = io.WriteString(client, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: banger-stream\r\n"+
			api.VMIDHeader+": "+vmID+"\r\n"+api.VMNameHeader+": dev\r\n\r\n")
		_, _ = io.Copy(io.Discard, client)
	})
}

// From a guest that stands still there is a way out, with the terminal as it was.
func TestGuestThatDoesNotAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(t *testing.T, cmd *exec.Cmd, master *os.File, s *screen)
		want int
	}{
		"signal": {func(t *testing.T, cmd *exec.Cmd, _ *os.File, _ *screen) {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		}, 128 + 15},
		"keys": {func(t *testing.T, _ *exec.Cmd, master *os.File, s *screen) {
			_, _ = master.WriteString("\x1dd")
			s.await(t, "type Ctrl-] d again to leave anyway")
			_, _ = master.WriteString("\x1dd")
		}, exitBanger},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.mute()
			cmd, master, terminal := onTerminal(t, "vm", "exec", "-t", "dev", "--", "top")
			s := watch(master)
			for began := time.Now(); mode(t, terminal).Lflag&unix.ICANON != 0; time.Sleep(5 * time.Millisecond) {
				if time.Since(began) > 20*time.Second {
					t.Fatal("the terminal does not become raw")
				}
			}
			c.end(t, cmd, master, s)
			s.await(t, "the guest of VM dev does not answer")
			if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != c.want {
				t.Errorf("ended with %v", err)
			}
			if mode(t, terminal).Lflag&unix.ICANON == 0 {
				t.Error("the terminal is still raw")
			}
		})
	}
}
