package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/budget"
)

func (r *rig) attach(dial guest.Dial, id string) *guest.Session {
	r.t.Helper()
	s, err := (&guest.Client{Dial: dial}).Attach(r.t.Context(), id, 0, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { s.Close() })
	return s
}

// TestTakenOver: the second client gets what the first has not read, and nothing
// twice.
func TestTakenOver(t *testing.T) {
	r := newRig(t, limits{9, time.Hour, time.Hour})
	link := r.link()
	first := r.exec(link.Open, "sh", "-c", "echo one; read x; echo $x; read x; echo $x")
	line := make([]byte, 4)
	if _, err := io.ReadFull(first.Stdout, line); err != nil || string(line) != "one\n" {
		t.Fatalf("%q, %v", line, err)
	}
	second := r.attach(link.Open, first.ID())
	if _, err := first.Wait(t.Context()); api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "taken over") {
		t.Errorf("the first is told %v", err)
	}
	io.WriteString(second.Stdin, "two\nthree\n")
	if b, err := io.ReadAll(second.Stdout); string(b) != "two\nthree\n" || err != nil {
		t.Errorf("the second reads %q, %v", b, err)
	}
	if exit, err := second.Wait(t.Context()); err != nil || exit.Code != 0 {
		t.Errorf("%+v, %v", exit, err)
	}
}

// TestTakenOverFromOneThatStalls: what it did not read is not lost.
func TestTakenOverFromOneThatStalls(t *testing.T) {
	r := newRig(t, limits{9, time.Hour, time.Hour})
	link := r.link()
	first := r.exec(link.Open, "seq", "1", "200000")
	id := first.ID()
	r.until(&guest.Client{Dial: link.Open}, func(list []api.Session) bool { return len(list) == 1 && list[0].BytesOut > 100<<10 })
	second := r.attach(link.Open, id)
	got, err := io.ReadAll(second.Stdout)
	if err != nil || !bytes.HasPrefix(got, []byte("1\n2\n")) || !bytes.HasSuffix(got, []byte("\n200000\n")) || len(got) != 1288895 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// until waits until the list of sessions is as wanted.
func (r *rig) until(c *guest.Client, wanted func([]api.Session) bool) {
	r.t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		list, err := c.Sessions(r.t.Context())
		if err != nil || time.Since(began) > 20*time.Second {
			r.t.Fatal(list, err)
		}
		if wanted(list) {
			return
		}
	}
}

// TestEndedWhileItsClientStalled: what a client has not read of a command that is kept
// waits for another, and so does the status, however the client ends.
func TestEndedWhileItsClientStalled(t *testing.T) {
	for name, part := range map[string]func(*guest.Client, *guest.Session, string) error{
		"left": func(c *guest.Client, s *guest.Session, id string) error {
			return errors.Join(c.Leave(context.Background(), id, s), s.Close())
		},
		"died": func(_ *guest.Client, s *guest.Session, _ string) error { return s.Close() },
		"lost": func(*guest.Client, *guest.Session, string) error { return nil }, // nothing is heard of it yet
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, limits{9, time.Hour, time.Hour})
			link := r.link()
			c := &guest.Client{Dial: link.Open}
			id, _, err := c.Start(t.Context(), api.Exec{Argv: []string{"sh", "-c", "seq 1 5000; exit 7"}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			stalled := r.attach(link.Open, id)
			r.until(c, func(list []api.Session) bool {
				return len(list) == 1 && list[0].State == api.SessionAttached && list[0].ExitCode != nil
			})
			if err := part(c, stalled, id); err != nil {
				t.Fatal(err)
			}
			next := r.attach(link.Open, id)
			out, err := io.ReadAll(next.Stdout)
			if err != nil || !bytes.HasPrefix(out, []byte("1\n2\n")) || !bytes.HasSuffix(out, []byte("\n5000\n")) || len(out) != 23893 {
				t.Errorf("%d bytes, %v", len(out), err)
			}
			if exit, err := next.Wait(t.Context()); err != nil || exit.Code != 7 {
				t.Errorf("%+v, %v", exit, err)
			}
			r.until(c, func(list []api.Session) bool { return len(list) == 0 })
		})
	}
}

// TestStatusOnItsWayIsKept: a client that is dead when the command ends has not got
// its status.
func TestStatusOnItsWayIsKept(t *testing.T) {
	r := newRig(t, limits{9, time.Hour, 500 * time.Millisecond})
	link := r.link()
	c := &guest.Client{Dial: link.Open}
	end := filepath.Join(t.TempDir(), "end")
	id, _, err := c.Start(t.Context(), api.Exec{Argv: []string{"sh", "-c", "until test -e " + end + "; do sleep 0.01; done; exit 7"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var channel net.Conn
	r.attach(func(ctx context.Context) (net.Conn, error) {
		if channel != nil {
			return nil, errors.New("the client is dead")
		}
		conn, err := link.Open(ctx)
		channel = conn
		return conn, err
	}, id)
	r.until(c, func(list []api.Session) bool { return list[0].State == api.SessionAttached })
	channel.Close()
	r.until(c, func(list []api.Session) bool { return list[0].State == api.SessionWaiting })
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.until(c, func(list []api.Session) bool { return len(list) == 0 || list[0].State == api.SessionEnded })
	if exit, err := r.attach(link.Open, id).Wait(t.Context()); err != nil || exit.Code != 7 {
		t.Errorf("%+v, %v", exit, err)
	}
}

// counting writes lines without a pause that would be long enough for a client to say
// how far it is.
const counting = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; [ $((i%20)) = 0 ] && sleep 0.005; done; exit 7"

// TestLeftInTheMiddleOfItsOutput: nothing is lost, and nothing comes twice. Where the
// client is an older one, which does not say who it is, some may.
func TestLeftInTheMiddleOfItsOutput(t *testing.T) {
	for name, older := range map[string]bool{"client": false, "older client": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, limits{9, time.Hour, time.Hour})
			link := r.link()
			c := &guest.Client{Dial: link.Open}
			first := r.exec(link.Open, "sh", "-c", counting)
			var head bytes.Buffer
			if _, err := io.CopyN(&head, first.Stdout, 3000); err != nil {
				t.Fatal(err)
			}
			var reading sync.WaitGroup
			reading.Go(func() { _, _ = io.Copy(&head, first.Stdout) })
			leaving := first
			if older {
				leaving = nil
			}
			if err := c.Leave(t.Context(), first.ID(), leaving); err != nil {
				t.Fatal(err)
			}
			first.Close()
			reading.Wait()
			r.until(c, func(list []api.Session) bool { return list[0].State != api.SessionAttached })
			next := r.attach(link.Open, first.ID())
			tail, err := io.ReadAll(next.Stdout)
			if err != nil {
				t.Error(err)
			}
			if exit, err := next.Wait(t.Context()); err != nil || exit.Code != 7 {
				t.Errorf("%+v, %v", exit, err)
			}
			var want bytes.Buffer
			for i := range 3000 {
				fmt.Fprintln(&want, i+1)
			}
			twice := head.Len() + len(tail) - want.Len()
			if twice < 0 || twice > 0 && !older || !bytes.HasPrefix(want.Bytes(), head.Bytes()) || !bytes.HasSuffix(want.Bytes(), tail) {
				t.Errorf("%d and %d bytes of %d", head.Len(), len(tail), want.Len())
			}
		})
	}
}

// TestLeavingIsNotForOthers: a client that leaves when another has its command already
// does not take that one along.
func TestLeavingIsNotForOthers(t *testing.T) {
	r := newRig(t, limits{9, time.Hour, time.Hour})
	link := r.link()
	first := r.exec(link.Open, "sh", "-c", "echo; read x; echo $x")
	if _, err := io.ReadFull(first.Stdout, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	second := r.attach(link.Open, first.ID())
	if _, err := first.Wait(t.Context()); api.KindOf(err) != api.KindConflict {
		t.Errorf("the first is told %v", err)
	}
	if err := (&guest.Client{Dial: link.Open}).Leave(t.Context(), first.ID(), first); err != nil {
		t.Error(err)
	}
	io.WriteString(second.Stdin, "on\n")
	if out, err := io.ReadAll(second.Stdout); string(out) != "on\n" || err != nil {
		t.Errorf("the second reads %q, %v", out, err)
	}
}

// TestFloodWithoutAClientIsBounded: a command nobody reads ends, and its newest
// output is there.
func TestFloodWithoutAClientIsBounded(t *testing.T) {
	r := newRig(t, limits{9, time.Hour, time.Hour})
	link := r.link()
	c := &guest.Client{Dial: link.Open}
	id, _, err := c.Start(t.Context(), api.Exec{Argv: []string{"sh", "-c", "head -c 8000000 /dev/zero | tr '\\0' x; echo; echo end"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := func(list []api.Session) bool { return list[0].State == api.SessionEnded }
	r.until(c, ended)
	stalled := r.attach(link.Open, id) // takes nothing along, not even what it is told
	r.until(c, func(list []api.Session) bool { return list[0].State == api.SessionAttached })
	stalled.Close()
	r.until(c, ended)
	s := r.attach(link.Open, id)
	var notice []byte
	var reading sync.WaitGroup
	reading.Go(func() { notice, _ = io.ReadAll(s.Stderr) })
	out, err := io.ReadAll(s.Stdout)
	reading.Wait()
	if err != nil || len(out) > bufferKept || !bytes.HasSuffix(out, []byte("x\nend\n")) || !bytes.Contains(notice, []byte("earlier output are gone")) {
		t.Errorf("%d bytes, %q, %v", len(out), notice, err)
	}
}

// TestThousandStreamsAndAFlood: clients that read nothing of endless output take
// bounded memory, and another is served.
func TestThousandStreamsAndAFlood(t *testing.T) {
	const many = 50 // commands; each has three pipes at both ends in this process
	r := newRig(t, limits{budget.MaxSessions, time.Hour, time.Hour})
	link := r.link()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range many {
		r.exec(link.Open, "yes")
	}
	for range budget.MaxSessions - many - 1 { // streams that say nothing
		conn, err := link.Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	began := time.Now()
	if exit, err := r.exec(link.Open, "true").Wait(t.Context()); err != nil || exit.Code != 0 {
		t.Errorf("%+v, %v", exit, err)
	}
	took := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := int64(after.HeapInuse-before.HeapInuse) / many
	t.Logf("%d KiB for each flood at both ends, another command took %v", each>>10, took)
	// Window (twice), the stdio window kept and received, what is read ahead, and rings
	// that grow by doubling.
	if each > 2<<20 {
		t.Errorf("%d bytes for each flood", each)
	}
}
