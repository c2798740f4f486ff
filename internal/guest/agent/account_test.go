package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"banger/api"
	"banger/internal/guest"
)

// etc gives the rig's guest an /etc/passwd and an /etc/group.
func (r *rig) etc(passwd, group string) {
	r.t.Helper()
	etc := filepath.Join(r.s.Root, "etc")
	if err := os.MkdirAll(etc, 0o755); err != nil {
		r.t.Fatal(err)
	}
	for name, text := range map[string]string{"passwd": passwd, "group": group} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

// TestCommandOfAUser: ids, groups, home, environment, and streams that the user
// can open again by name. Who is not root can be no other user than himself.
func TestCommandOfAUser(t *testing.T) {
	r := newRig(t, limits{9, detachedFor, lostFor})
	uid, gid := 54321, 54322
	groups := "54322 54323\n"
	if os.Geteuid() != 0 {
		uid, gid, groups = os.Geteuid(), os.Getegid(), ""
	}
	r.etc(fmt.Sprintf("me:x:%d:%d::/home/me:/bin/sh\n", uid, gid), "more:x:54323:me\n")
	home := filepath.Join(r.s.Root, "home", "me")
	if err := errors.Join(os.MkdirAll(home, 0o755), os.Chmod(filepath.Dir(r.s.Root), 0o711)); err != nil {
		t.Fatal(err)
	}
	link := r.link()
	script := "id -u; id -g; pwd; echo $HOME $USER; echo reopened > /dev/stdout; echo too > /dev/stderr"
	if groups != "" {
		script = "id -G; " + script
	}
	want := fmt.Sprintf("%s%d\n%d\n%s\n%s me\nreopened\n", groups, uid, gid, home, home)
	for _, tty := range []bool{false, true} {
		s, err := (&guest.Client{Dial: link.Open}).Exec(t.Context(), api.Exec{Argv: []string{"sh", "-c", script}, User: "me", TTY: tty})
		if err != nil {
			t.Fatal(err)
		}
		s.Stdin.Close()
		out, err := io.ReadAll(s.Stdout)
		errs, err2 := io.ReadAll(s.Stderr)
		exit, err3 := s.Wait(t.Context())
		if err := errors.Join(err, err2, err3); err != nil || exit.Code != 0 {
			t.Errorf("terminal %v: %+v, %v", tty, exit, err)
		}
		s.Close()
		if diff := cmp.Diff(want+"too\n", strings.ReplaceAll(string(out)+string(errs), "\r\n", "\n")); diff != "" {
			t.Errorf("terminal %v:\n%s", tty, diff)
		}
	}
	if os.Geteuid() != 0 {
		t.Log("NOT RUN without root: a program and a directory that are another user's")
		return
	}
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := (&guest.Client{Dial: link.Open}).Exec(t.Context(), api.Exec{Argv: []string{"pwd"}, User: "me"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	errs, err := io.ReadAll(s.Stderr)
	exit, err2 := s.Wait(t.Context())
	if want := "banger: pwd: cannot execute as user 54321 in " + home + ": permission denied\n"; string(errs) != want || exit.Code != 126 {
		t.Errorf("%q, %+v, %v", errs, exit, errors.Join(err, err2))
	}
}

// TestStopSignal: a command ends by the signal of its own when its client goes.
func TestStopSignal(t *testing.T) {
	r := newRig(t, limits{9, detachedFor, lostFor})
	link := r.link()
	script := "trap 'touch hup; exit' HUP; trap 'touch quit; exit' QUIT; echo ready; while :; do sleep 0.05; done"
	for signal, want := range map[int]string{0: "hup", int(syscall.SIGQUIT): "quit"} {
		s, err := (&guest.Client{Dial: link.Open}).Exec(t.Context(), api.Exec{Argv: []string{"sh", "-c", script}, StopSignal: signal})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s.Stdout, make([]byte, len("ready\n"))); err != nil {
			t.Fatal(err)
		}
		s.Close()
		// The session is gone at once, the command a moment later.
		file := filepath.Join(r.s.Root, want)
		for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(file); err == nil {
				break
			}
			if time.Since(began) > 4*time.Second { // before it is killed
				t.Fatalf("signal %d: %s is not there", signal, want)
			}
		}
	}
}
