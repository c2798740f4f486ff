package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"banger/api"
	"banger/internal/logging"
)

// asDaemon makes this test's program a daemon over fakes.
const asDaemon = "BANGER_TEST_DAEMON"

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	program := newFakes(slog.New(slog.DiscardHandler)).program()
	if os.Getenv(asDaemon) == "broken" {
		program.Build = func(context.Context, Env) (*Services, error) {
			return nil, api.Errorf(api.KindUnsupported, "cannot open the store").WithHint("update banger")
		}
	}
	if os.Getenv(asDaemon) == "noisy" {
		build := program.Build
		program.Build = func(ctx context.Context, env Env) (*Services, error) {
			for range 100 {
				env.Log.Warn("again")
			}
			return build(ctx, env)
		}
	}
	os.Exit(Main(os.Args[1:], program))
}

// spawn starts a daemon below home, which writes to log if there is one, and returns what
// it said about its start.
func spawn(t *testing.T, home, mode string, log ...*os.File) (*exec.Cmd, string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asDaemon+"="+mode, "BANGER_HOME="+home, api.ReadyEnv+"=3")
	cmd.ExtraFiles = []*os.File{w}
	for _, f := range log {
		cmd.Stdout, cmd.Stderr = f, f
	}
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	r.SetReadDeadline(time.Now().Add(soon))
	said, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%q, %v", said, err)
	}
	return cmd, string(said)
}

func TestProcess(t *testing.T) {
	home := t.TempDir()
	first, said := spawn(t, home, "fine")
	if said != "ready\n" {
		t.Fatalf("first: %q", said)
	}
	info, err := os.Stat(home + "/data/bangerd.sock")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v %v", info, err)
	}
	second, said := spawn(t, home, "fine")
	if !strings.Contains(said, `"kind":"conflict"`) || second.Wait() == nil {
		t.Errorf("second: %q", said)
	}
	// What a terminal that closes sends does not matter.
	for _, signal := range []os.Signal{syscall.SIGHUP, syscall.SIGPIPE} {
		if err := first.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Process.Kill(); err != nil { // kill -9: socket and lock file stay
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := first.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("first ended before it was killed: %v", err)
	}
	third, said := spawn(t, home, "fine")
	if said != "ready\n" {
		t.Fatalf("third: %q", said)
	}
	if err := third.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := third.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if _, err := os.Lstat(home + "/data/bangerd.sock"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// TestALongLogIsPutAsideByTheDaemon: its standard error is another file from then on.
func TestALongLogIsPutAsideByTheDaemon(t *testing.T) {
	home := t.TempDir()
	path := home + "/data/bangerd.log"
	if err := os.Mkdir(home+"/data", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, logging.Max), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := logging.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd, said := spawn(t, home, "fine", log) // writes that it is ready
	if said != "ready\n" {
		t.Fatal(said)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 1<<10 {
		t.Errorf("%v, %v", info, err)
	}
	for _, fd := range []int{1, 2} {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", cmd.Process.Pid, fd)); to != path {
			t.Errorf("descriptor %d is %s, %v", fd, to, err)
		}
	}
}

// TestWhatIsSaidAgainIsLimited, and how many were left out is said at the end.
func TestWhatIsSaidAgainIsLimited(t *testing.T) {
	home := t.TempDir()
	log, err := os.CreateTemp(home, "log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd, said := spawn(t, home, "noisy", log)
	if said != "ready\n" {
		t.Fatal(said)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(log.Name())
	if err != nil || strings.Count(string(text), "msg=again") > 10 || strings.Count(string(text), "left_out=") != 1 {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestProcessSaysWhyItDoesNotStart(t *testing.T) {
	cmd, said := spawn(t, t.TempDir(), "broken")
	want := `{"kind":"unsupported","message":"cannot open the store","hint":"update banger"}` + "\n"
	var exit *exec.ExitError
	if err := cmd.Wait(); said != want || !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("said %q, ended with %v", said, err)
	}
}
