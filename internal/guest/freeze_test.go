package guest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
	"banger/internal/guest/agent/freezer"
	"banger/internal/guest/agentproto"
)

// fakeCgroups makes a directory that stands for the cgroups of a guest. All of them freeze at once.
func fakeCgroups(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"cgroup.procs": "", "banger-work/cgroup.procs": "2147483647\n", "banger-work/cgroup.freeze": "0\n", "banger-work/cgroup.events": "populated 1\nfrozen 1\n",
	} {
		err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// freezable is an agent whose guest can be frozen, and a client of it.
func freezable(t *testing.T) *guest.Client {
	path := startAgent(t, agent.Options{Root: t.TempDir(), Freezer: freezer.Open(freezer.Options{Dir: fakeCgroups(t)})})
	return &guest.Client{Dial: connect(t, path).Open}
}

func TestFreeze(t *testing.T) {
	c := freezable(t)
	got, err := c.Freeze(t.Context(), "a")
	if err != nil || strings.Join(got.Groups, " ") != "banger-work" || got.Processes != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := c.Freeze(t.Context(), "b"); api.KindOf(err) != api.KindConflict {
		t.Error(err)
	}
	if _, err := c.Thaw(t.Context(), "b"); api.KindOf(err) != api.KindConflict {
		t.Error(err)
	}
	for range 2 {
		if thawed, err := c.Thaw(t.Context(), "a"); err != nil || thawed.Lost {
			t.Errorf("%+v, %v", thawed, err)
		}
	}
}

// TestFreezeIsRefused: by an agent without cgroups, with the reason, and by an older one.
func TestFreezeIsRefused(t *testing.T) {
	c := &guest.Client{Dial: connect(t, startAgent(t, agent.Options{Root: t.TempDir()})).Open}
	if _, err := c.Freeze(t.Context(), "a"); api.KindOf(err) != api.KindUnsupported || !strings.Contains(err.Error(), "cannot freeze the guest: ") {
		t.Error(err)
	}
	if thawed, err := c.Thaw(t.Context(), "a"); err != nil || !thawed.Lost {
		t.Errorf("%+v, %v", thawed, err)
	}
}

// TestExecWhileFrozen: it waits until the guest continues, and runs once.
func TestExecWhileFrozen(t *testing.T) {
	c := freezable(t)
	file := filepath.Join(t.TempDir(), "runs")
	if _, err := c.Freeze(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	dialled := make(chan struct{}, 100)
	waiting := &guest.Client{Dial: counted(c.Dial, dialled)}
	s, err := waiting.Exec(t.Context(), api.Exec{Argv: []string{"sh", "-c", "cat; echo once >> " + file}})
	if err != nil {
		t.Fatal(err)
	}
	go func() { s.Stdin.Write([]byte("hello")); s.Stdin.Close() }()
	for range 4 { // it tries again
		<-dialled
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("it ran in a frozen guest")
	}
	if _, err := c.Thaw(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if out, _, exit, err := result(t, s); out != "hello" || exit.Code != 0 || err != nil {
		t.Errorf("%q, %v, %v", out, exit, err)
	}
	if text, err := os.ReadFile(file); string(text) != "once\n" {
		t.Errorf("%q, %v", text, err)
	}
}

// counted notes each dial.
func counted(dial guest.Dial, dialled chan<- struct{}) guest.Dial {
	return func(ctx context.Context) (net.Conn, error) {
		dialled <- struct{}{}
		return dial(ctx)
	}
}

// TestGivesUpOnAFrozenGuest: one that says for ever that it is frozen does not hold a client.
func TestGivesUpOnAFrozenGuest(t *testing.T) {
	c := freezable(t)
	if _, err := c.Freeze(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	waiting := &guest.Client{Dial: c.Dial, Patience: 100 * time.Millisecond}
	s, err := waiting.Exec(t.Context(), api.Exec{Argv: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := result(t, s); api.KindOf(err) != api.KindTimeout || !strings.Contains(err.Error(), "the guest is frozen") {
		t.Error(err)
	}
}

// FuzzFrozen: whatever a guest says that it has frozen, what is shown of it is short and printable.
func FuzzFrozen(f *testing.F) {
	f.Add([]byte(`{"processes":-1,"groups":["a\u001b[2J","\u202e"],"outside":[{"pid":1,"name":"\u0000"}]}`))
	f.Add([]byte(`{"groups":["` + strings.Repeat("ä", 1000) + `"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var said agentproto.Frozen
		if json.Unmarshal(b, &said) != nil {
			return
		}
		shown := guest.PlainFrozen(said)
		text, err := json.Marshal(shown)
		if err != nil || len(text) > 2*agentproto.MaxListed*1000 || shown.Processes < 0 {
			t.Errorf("%d bytes, %v", len(text), err)
		}
		for _, name := range shown.Groups {
			if len(name) > 260 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x202e || r == 0x7f }) {
				t.Errorf("%q", name)
			}
		}
	})
}
