package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"banger/api"
	"banger/internal/system"
)

// hostWith is a machine whose helper says which Firecracker there is, and whose user is
// not root: what would get one is refused.
func hostWith(f system.FirecrackerState) *system.Host {
	return &system.Host{UID: 1, Root: "/", AskFirecracker: func(context.Context) system.FirecrackerState { return f }}
}

var (
	noFirecracker = system.FirecrackerState{Problem: "firecracker is not installed"}
	notRoot       = "banger is installed, but not Firecracker: cannot get Firecracker: only root can"
)

// TestOfferWithoutATerminal: an installation that nobody watches is never asked, and is
// told what to type where Firecracker would be of use.
func TestOfferWithoutATerminal(t *testing.T) {
	for name, c := range map[string]struct {
		found  system.FirecrackerState
		wanted bool
		said   string
		err    string
	}{
		"there is none":         {found: noFirecracker, said: "banger: for VMs that start faster: sudo banger system firecracker\n"},
		"there is one":          {found: system.FirecrackerState{Version: "1.16.1"}},
		"there is no KVM":       {found: system.FirecrackerState{Problem: "firecracker is not installed", NoKVM: "no /dev/kvm"}},
		"nobody knows":          {found: system.FirecrackerState{Problem: "no answer", Unknown: true}},
		"it is asked for":       {found: system.FirecrackerState{Version: "1.15.1"}, wanted: true, err: notRoot},
		"it is asked for again": {found: noFirecracker, wanted: true, err: notRoot},
	} {
		var out, said bytes.Buffer
		a := newApp(strings.NewReader("y\n"), &out, &said, func(string) string { return "" })
		err := firecrackerSetup{a.std, hostWith(c.found)}.offer(t.Context(), c.wanted)
		if said.String() != c.said || out.Len() > 0 || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%s: %q, %v", name, said.String(), err)
		}
	}
}

func TestOfferOnATerminal(t *testing.T) {
	ask := func(ctx context.Context, typed string) (string, error) {
		t.Helper()
		user, tty, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer user.Close()
		defer tty.Close()
		s := watch(user)
		a := newApp(tty, io.Discard, tty, func(string) string { return "" })
		ended := make(chan error, 1)
		go func() { ended <- firecrackerSetup{a.std, hostWith(noFirecracker)}.offer(ctx, false) }()
		s.await(t, "firecracker is not installed. Download it from the project's release page? [Y/n] ")
		if _, err := io.WriteString(user, typed); err != nil {
			t.Fatal(err)
		}
		select {
		case err = <-ended:
		case <-time.After(20 * time.Second):
			t.Fatalf("%q: the question has no end", typed)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.text.String(), err
	}
	for _, typed := range []string{"\n", "y\n", "Yes\n"} {
		if _, err := ask(t.Context(), typed); err == nil || err.Error() != notRoot {
			t.Errorf("%q: %v", typed, err)
		}
	}
	for _, typed := range []string{"n\n", "what?\n", "\x04"} { // the last is Ctrl-D
		if _, err := ask(t.Context(), typed); err != nil {
			t.Errorf("%q: %v", typed, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := ask(ctx, ""); api.KindOf(err) != api.KindCanceled || api.AsError(err).Hint != "sudo banger system firecracker" {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFirecrackerCommandLine(t *testing.T) {
	for _, args := range [][]string{
		{"--rollback", "--version", "1.16.1"}, {"--rollback", "--from", "x"}, {"--from", "x", "--version", "1.16.1"}, {"1.16.1"},
	} {
		if _, said, status := run(append([]string{"system", "firecracker"}, args...)...); status != exitUsage {
			t.Errorf("%v: %d, %s", args, status, said)
		}
	}
}

func TestPrintFirecracker(t *testing.T) {
	ours := system.FirecrackerState{Version: "1.16.1", Path: "/usr/local/lib/banger/firecracker/versions/1.16.1/firecracker", Jailer: "/usr/local/lib/banger/firecracker/versions/1.16.1/jailer"}
	warned := ours
	warned.Warnings = []string{"firecracker 1.16.1: beware"}
	byHand := system.FirecrackerState{Version: "1.15.1", Path: "/usr/local/bin/firecracker", Jailer: "/usr/local/bin/jailer"}
	for _, c := range []struct {
		change     system.FirecrackerChange
		said, note string
	}{
		{system.FirecrackerChange{Version: "1.16.1", Changed: true, Used: ours}, "Firecracker 1.16.1 is installed\n", ""},
		{system.FirecrackerChange{Version: "1.16.1", Previous: "1.15.1", Changed: true, Used: warned}, "Firecracker 1.16.1 is installed; it was 1.15.1\n", "banger: firecracker 1.16.1: beware\n"},
		{system.FirecrackerChange{Version: "1.16.1", Previous: "1.15.1", Used: ours}, "Firecracker 1.16.1 is installed already\n", ""},
		{system.FirecrackerChange{Version: "1.16.1", Changed: true, Kept: []string{"1.14.4"}, Used: ours}, "Firecracker 1.16.1 is installed\n", "banger: still used by running VMs: 1.14.4\n"},
		{system.FirecrackerChange{Changed: true, Used: byHand}, "banger's own Firecracker is disabled; VMs get 1.15.1 at /usr/local/bin/firecracker\n", ""},
		{system.FirecrackerChange{Version: "1.16.1", Changed: true, Used: byHand}, "Firecracker 1.16.1 is installed\n",
			"banger: VMs use /usr/local/bin/firecracker, which is set in /etc/banger/config.toml: remove firecracker and jailer there, then: sudo banger system restart\n"},
	} {
		var out, note bytes.Buffer
		a := newApp(os.Stdin, &out, &note, func(string) string { return "" })
		if err := (firecrackerSetup{std: a.std}).print(c.change); err != nil || out.String() != c.said || note.String() != c.note {
			t.Errorf("%+v: %q, %q, %v", c.change, out.String(), note.String(), err)
		}
	}
}
