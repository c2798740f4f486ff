package update

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/faultpoint"
	"banger/internal/update/journal"
)

// testLauncher starts updaters of a fixture, and starts them again as often as it is
// told.
type testLauncher struct {
	w       *fixture
	point   string // where the first one dies
	again   int
	ended   chan struct{}
	command *exec.Cmd
}

func (l *testLauncher) Launch(ctx context.Context) error {
	log, err := l.w.OpenLog()
	if err = errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	defer log.Close()
	fault := l.w.base + "/fault"
	if l.point != "" {
		if err := os.WriteFile(fault, []byte(l.point), 0o644); err != nil {
			return err
		}
	}
	l.command = exec.Command(os.Args[0])
	l.command.Env = append(os.Environ(), asUpdater+"="+l.w.base, faultpoint.Env+"="+fault)
	l.command.Stdout, l.command.Stderr = log, log
	if err := l.command.Start(); err != nil {
		return err
	}
	l.ended = make(chan struct{})
	go func(c *exec.Cmd, ended chan struct{}) {
		_ = c.Wait() // how it ended is in the account
		close(ended)
	}(l.command, l.ended)
	return nil
}

func (l *testLauncher) Watch(ctx context.Context) (<-chan struct{}, error) {
	select {
	case <-l.ended:
		if l.again == 0 {
			return nil, errGone
		}
		l.again, l.point = l.again-1, ""
		err := l.Launch(ctx)
		return l.ended, err
	default:
		return l.ended, nil
	}
}

func TestFollow(t *testing.T) {
	fx := newFixture(t)
	if err := fx.begin(t, good); err != nil {
		t.Fatal(err)
	}
	fx.said = nil
	j, err := fx.Follow(t.Context(), &testLauncher{w: fx, point: "update switching after", again: 1})
	if err != nil || j.State != journal.Done || j.Attempts != 2 {
		t.Fatalf("%+v, %v", j, err)
	}
	if fx.state() != after {
		t.Error(fx.state())
	}
	said := strings.Join(fx.said, "\n")
	for _, line := range []string{"holding new work back", "switching to version v1.1.0", "version v1.1.0 has proven itself"} {
		if !strings.Contains(said, line) {
			t.Errorf("%q was not said:\n%s", line, said)
		}
	}
}

func TestFollowOfAnUpdaterThatIsGone(t *testing.T) {
	fx := newFixture(t)
	if err := fx.begin(t, good); err != nil {
		t.Fatal(err)
	}
	_, err := fx.Follow(t.Context(), &testLauncher{w: fx, point: "update units before"})
	if !errors.Is(err, errGone) || !strings.Contains(api.AsError(err).Hint, "continues it, or rolls it back") {
		t.Fatal(err)
	}
	// The next one continues it.
	j, err := fx.Follow(t.Context(), &testLauncher{w: fx})
	if err != nil || j.State != journal.Done || fx.state() != after {
		t.Errorf("%+v, %v\n%s", j, err, fx.state())
	}
}

// TestFollowIsLeft: who stops watching stops nothing.
func TestFollowIsLeft(t *testing.T) {
	fx := newFixture(t)
	if err := fx.begin(t, good); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	fx.Report = func(string) { cancel() }
	l := &testLauncher{w: fx}
	if _, err := fx.Follow(ctx, l); api.KindOf(err) != api.KindCanceled && err != nil {
		t.Fatal(err)
	}
	<-l.ended
	if fx.state() != after {
		t.Error(fx.state())
	}
	fx.tidy(t)
}

// TestFollowOfWhoWasStoppedEarly: what was begun is carried out.
func TestFollowOfWhoWasStoppedEarly(t *testing.T) {
	fx := newFixture(t)
	if err := fx.begin(t, good); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := &testLauncher{w: fx}
	if _, err := fx.Follow(ctx, l); api.KindOf(err) != api.KindCanceled || !strings.Contains(err.Error(), "the update continues") {
		t.Fatal(err)
	}
	<-l.ended
	if fx.state() != after {
		t.Error(fx.state())
	}
	fx.tidy(t)
}
