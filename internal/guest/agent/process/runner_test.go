package process

import (
	"context"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"banger/api"
)

func TestMain(m *testing.M) {
	reapMain()
	goleak.VerifyTestMain(m)
}

// nothing is an empty standard input.
var nothing = io.NopCloser(strings.NewReader(""))

// discarded is output that nobody reads.
type discarded struct{ io.Writer }

func (discarded) Close() error { return nil }

// output says when it begins.
type output struct {
	said  []byte
	begun chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	if o.said = append(o.said, p...); len(o.said) == len(p) {
		o.begun <- struct{}{}
	}
	return len(p), nil
}

func (*output) Close() error { return nil }

// TestRunnerEndsUnderAJobThatWritesForEver: and with it what it held open for the job.
func TestRunnerEndsUnderAJobThatWritesForEver(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r := New(ctx, Options{Root: t.TempDir()})
	exit, err := r.Command(api.Exec{Argv: []string{"sh", "-c", "yes 2>/dev/null & exit 3"}}).
		Run(ctx, Streams{nothing, discarded{io.Discard}, discarded{io.Discard}})
	if err != nil || exit.Code != 3 {
		t.Errorf("%+v, %v", exit, err)
	}
	held := func() int {
		r.held.mu.Lock()
		defer r.held.mu.Unlock()
		return r.held.count
	}
	if n := held(); n != 1 {
		t.Errorf("%d pipes are held open", n)
	}
	cancel()
	r.Close()
	if n := held(); n != 0 {
		t.Errorf("%d pipes are held open at the end", n)
	}
}

// TestHowAProgramEnds: its status, a signal, or why it did not run; the latter is an error for a
// caller that only starts it.
func TestHowAProgramEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := New(ctx, Options{Root: t.TempDir()})
	defer r.Close()
	defer cancel()
	for script, want := range map[string]Exit{
		"exit 3":     {Code: 3},
		"kill -9 $$": {Code: 137, Signal: syscall.SIGKILL},
	} {
		exit, err := r.Command(api.Exec{Argv: []string{"sh", "-c", script}}).Run(ctx, Streams{nothing, discarded{io.Discard}, discarded{io.Discard}})
		if err != nil || exit != want {
			t.Errorf("%s: %+v, %v", script, exit, err)
		}
	}
	var said strings.Builder
	missing := api.Exec{Argv: []string{"/no/such"}}
	exit, err := r.Command(missing).Run(ctx, Streams{nothing, discarded{io.Discard}, discarded{&said}})
	if want := "banger: /no/such: command not found\n"; err != nil || exit != (Exit{Code: 127}) || said.String() != want {
		t.Errorf("%+v, %v, %q", exit, err, said.String())
	}
	if _, err := r.Command(missing).Start(); api.KindOf(err) != api.KindInvalid || err.Error() != "/no/such: command not found" {
		t.Errorf("started: %v", err)
	}
	if _, err := r.Command(api.Exec{User: "nosuch"}).Run(ctx, Streams{nothing, discarded{io.Discard}, discarded{io.Discard}}); api.KindOf(err) != api.KindInvalid {
		t.Errorf("an unknown user: %v", err)
	}
}

// TestHungUp: a program whose client is gone gets SIGHUP, and one whose guest ends SIGTERM and as long
// as the guest has for it.
func TestHungUp(t *testing.T) {
	for name, c := range map[string]struct {
		patience time.Duration
		guest    bool // ends
		want     string
	}{
		"the client is gone": {time.Hour, false, "up\nhup\n"},
		"the guest ends":     {300 * time.Millisecond, true, "up\nterm\n"},
	} {
		t.Run(name, func(t *testing.T) {
			guestCtx, endGuest := context.WithCancel(t.Context())
			r := New(guestCtx, Options{Root: t.TempDir(), Patience: func() time.Duration { return c.patience }})
			ctx, gone := context.WithCancel(guestCtx)
			defer gone()
			script := `trap "echo hup; exit" HUP; trap "echo term" TERM; echo up; while :; do sleep 0.01; done`
			p, err := r.Command(api.Exec{Argv: []string{"sh", "-c", script}}).Start()
			if err != nil {
				t.Fatal(err)
			}
			out := &output{begun: make(chan struct{}, 1)}
			go func() {
				<-out.begun
				if c.guest {
					endGuest()
				} else {
					gone()
				}
			}()
			exit := p.Follow(ctx, Streams{nothing, out, discarded{io.Discard}})
			endGuest()
			r.Close()
			if string(out.said) != c.want {
				t.Errorf("%+v after %q", exit, out.said)
			}
		})
	}
}
