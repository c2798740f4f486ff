package daemonstart

import (
	"context"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/host/fsx"
	"banger/internal/logging"
)

func TestTwoClientsStartOneDaemon(t *testing.T) {
	p := home(t, "works")
	var wg sync.WaitGroup
	pids := make([]int, 8)
	for i := range pids {
		wg.Go(func() {
			status, err := Client(p).Daemon().Status(t.Context())
			if err != nil {
				t.Error(err)
			}
			pids[i] = status.PID
		})
	}
	wg.Wait()
	if all := daemons(t, p); len(all) != 1 || all[0] != pids[0] || pids[0] != pids[7] {
		t.Errorf("daemons %v were started, clients talked to %v", all, pids)
	}
}

func TestDaemonIsDetached(t *testing.T) {
	p := home(t, "works")
	status, err := Client(p).Daemon().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if session, _, _ := syscall.Syscall(syscall.SYS_GETSID, uintptr(status.PID), 0, 0); int(session) != status.PID {
		t.Errorf("the daemon %d is of session %d", status.PID, session)
	}
	if status.Home != p.Data || status.Commit != "/" {
		t.Errorf("the daemon's home is %q and it runs in %q", status.Home, status.Commit)
	}
}

func TestStaleSocketIsNoProblem(t *testing.T) {
	p := home(t, "works")
	l, err := fsx.ListenUnix(p.Socket())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := os.Stat(p.Socket()); err != nil {
		t.Fatal("the socket is to stay behind:", err)
	}
	if _, err := Client(p).Daemon().Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDaemonSaysWhyItCannotStart(t *testing.T) {
	p := home(t, "refuses")
	_, err := Client(p).Daemon().Status(t.Context())
	e := api.AsError(err)
	if e == nil || e.Kind != api.KindConflict || e.Message != "cannot open the store: it is newer" || e.Hint != "update banger" {
		t.Errorf("got %+v", e)
	}
}

func TestDaemonThatDiesQuotesItsLog(t *testing.T) {
	p := home(t, "dies")
	_, err := Client(p).Daemon().Status(t.Context())
	e := api.AsError(err)
	if e == nil || !strings.Contains(e.Message, "panic: out of luck") || !strings.Contains(e.Hint, p.DaemonLog()) {
		t.Errorf("got %+v", e)
	}
}

// Whoever kills daemons may meet one that is just being started.
func TestDaemonThatIsEndedIsStartedAgain(t *testing.T) {
	for _, how := range []string{"is killed", "is told to end", "is killed when it is ready"} {
		p := home(t, how)
		if _, err := Client(p).Daemon().Status(t.Context()); err != nil || len(daemons(t, p)) != 3 {
			t.Errorf("it %s: got %v, daemons %v", how, err, daemons(t, p))
		}
	}
	p := home(t, "is always killed")
	_, err := Client(p).Daemon().Status(t.Context())
	if err == nil || !strings.Contains(err.Error(), "a signal ended it") || len(daemons(t, p)) != 1+maxEnded {
		t.Errorf("got %v, daemons %v", err, daemons(t, p))
	}
	p = home(t, "is always killed when it is ready")
	_, err = Client(p).Daemon().Status(t.Context())
	if err == nil || !strings.Contains(err.Error(), "cannot reach the daemon just started") || len(daemons(t, p)) != 1+maxEnded {
		t.Errorf("got %v, daemons %v", err, daemons(t, p))
	}
}

// A client that is killed while it starts the daemon lets go of its lock, and the next
// one's daemon finds the first at work.
func TestDaemonThatAnotherClientStartedWillDo(t *testing.T) {
	p := home(t, "is second")
	if _, err := Client(p).Daemon().Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNoDaemonProgram(t *testing.T) {
	p := home(t, "works")
	t.Setenv("BANGERD", "/nonexistent/bangerd")
	if _, err := Client(p).Daemon().Status(t.Context()); err == nil || !strings.Contains(err.Error(), "/nonexistent/bangerd") {
		t.Errorf("got %v", err)
	}
}

func TestWithoutStartStartsNothing(t *testing.T) {
	p := home(t, "works")
	_, err := Running(p).Daemon().Status(t.Context())
	if api.KindOf(err) != api.KindNotFound || len(daemons(t, p)) != 0 {
		t.Errorf("got %v, daemons %v", err, daemons(t, p))
	}
}

func TestGivingUpWhileAnotherClientStarts(t *testing.T) {
	p := home(t, "works")
	unlock, err := lock(t.Context(), p.StartLock())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := Client(p).Daemon().Status(ctx); api.KindOf(err) != api.KindTimeout {
		t.Errorf("got %v", err)
	}
	unlock()
}

func TestLongLogIsPutAside(t *testing.T) {
	p := home(t, "works")
	if err := os.WriteFile(p.DaemonLog(), make([]byte, logging.Max+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Client(p).Daemon().Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(p.DaemonLog()); err != nil || info.Size() > logging.Max {
		t.Errorf("log: %v, %v", info, err)
	}
}

// A daemon that is killed in the middle of an operation is started again, and
// the operation followed to its end.
func TestOperationOutlivesTheDaemon(t *testing.T) {
	p := home(t, "works")
	vm, err := Client(p).VMs().Create(t.Context(), api.CreateVM{}, nil)
	if err != nil || vm.Name != "survivor" {
		t.Errorf("got %+v, %v", vm, err)
	}
	if all := daemons(t, p); len(all) != 2 {
		t.Errorf("daemons: %v", all)
	}
}

func TestHalt(t *testing.T) {
	p := home(t, "works")
	first, err := Client(p).Daemon().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	halted, err := Halt(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	// Whoever wants a daemon now waits for the one that is started here.
	asked := make(chan api.DaemonStatus)
	go func() {
		status, err := Client(p).Daemon().Status(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Error(err)
		}
		asked <- status
	}()
	program, err := Program()
	if err != nil {
		t.Fatal(err)
	}
	if err := halted.Start(t.Context(), program); err != nil {
		t.Fatal(err)
	}
	second, err := Running(p).Daemon().Status(t.Context())
	if err != nil || second.PID == first.PID {
		t.Errorf("%+v, %v", second, err)
	}
	if got := <-asked; got.PID != second.PID {
		t.Errorf("another daemon was started: %d and %d", got.PID, second.PID)
	}
}

func TestHaltWithoutADaemon(t *testing.T) {
	p := home(t, "works")
	if err := os.MkdirAll(p.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Halt(t.Context(), p); err != nil {
		t.Error(err)
	}
}

func TestBeforeStart(t *testing.T) {
	p := home(t, "works")
	refusal := api.Errorf(api.KindConflict, "an update is at work")
	_, err := Daemon{p, func(context.Context) (string, error) { return "", refusal }}.Client(client.Options{}).Daemon().Status(t.Context())
	if api.KindOf(err) != api.KindConflict {
		t.Errorf("%v", err)
	}
	program, err := Program()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("BANGERD", "/nonexistent")
	calls := 0
	c := Daemon{p, func(context.Context) (string, error) { calls++; return program, nil }}.Client(client.Options{})
	for range 2 {
		if _, err := c.Daemon().Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 1 {
		t.Errorf("it was called %d times", calls)
	}
}
