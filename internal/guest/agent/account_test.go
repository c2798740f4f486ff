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

const (
	somePasswd = `root:x:0:0:root:/root:/bin/bash
# a comment
daemon:x:1:1
huge:x:99999999999:1::/:
app:x:1000:1001:An App,,,:/home/app:/bin/zsh
app:x:7:7:a second one:/seven:/bin/sh
homeless:x:1002:1002:::
1000:x:5:5:named like a number:/five:/bin/sh
`
	someGroup = `root:x:0:
app:x:1001:
wheel:x:10:root,app
docker:x:998:other,app,homeless
apples:x:11:apples
bad:x:-1:app
huge:x:4294967295:app
again:x:10:app
`
)

func TestAccount(t *testing.T) {
	r := newRig(t, limits{})
	r.etc(somePasswd, someGroup)
	for spec, want := range map[string]string{
		"root":                     "root 0:0 [0 10] /bin/bash",
		"app":                      "app 1000:1001 [1001 10 998] /bin/zsh",
		"1000":                     "app 1000:1001 [1001 10 998] /bin/zsh",
		"0001000":                  "app 1000:1001 [1001 10 998] /bin/zsh",
		"7":                        "app 7:7 [7 10 998] /bin/sh",
		"app:wheel":                "app 1000:10 [10] /bin/zsh",
		"app:4242":                 "app 1000:4242 [4242] /bin/zsh",
		"app:":                     "app 1000:1001 [1001 10 998] /bin/zsh",
		"homeless":                 "homeless 1002:1002 [1002 998] ",
		"4000":                     " 4000:0 [0] ",
		"4000:4001":                " 4000:4001 [4001] ",
		"4000:docker":              " 4000:998 [998] ",
		"4294967294":               " 4294967294:0 [0] ",
		"4294967295":               "cannot run as \"4294967295\": the largest id is 4294967294",
		"app:4294967295":           "cannot run as \"4294967295\": the largest id is 4294967294",
		"nosuch":                   "cannot run as \"nosuch\": the guest has no such user",
		"daemon":                   "cannot run as \"daemon\": the guest has no such user",
		"huge":                     "cannot run as \"huge\": the guest has no such user",
		"-1":                       "cannot run as \"-1\": the guest has no such user",
		"app:nosuch":               "cannot run in group \"nosuch\": the guest has no such group",
		"app:bad":                  "cannot run in group \"bad\": the guest has no such group",
		"app:huge":                 "cannot run in group \"huge\": the guest has no such group",
		"app:wheel:x":              "cannot run in group \"wheel:x\": the guest has no such group",
		":wheel":                   "cannot run the command: the user's name is empty",
		strings.Repeat("x", 1<<20): "cannot run as \"" + strings.Repeat("x", 60) + "\": the guest has no such user",
	} {
		if spec == "root" && os.Geteuid() != 0 {
			want = "played by this process"
		}
		a, err := r.s.account(spec)
		got := ""
		switch {
		case err != nil:
			got = err.Error()
			if api.KindOf(err) != api.KindInvalid {
				t.Errorf("%.60s: kind %s", spec, api.KindOf(err))
			}
		case a.credential == nil:
			got = "played by this process"
		default:
			got = fmt.Sprint(a.name, " ", a.credential.Uid, ":", a.credential.Gid, " ", a.credential.Groups, " ", a.shell)
		}
		if got != want {
			t.Errorf("%.60s is\n%s, not\n%s", spec, got, want)
		}
	}
}

// TestAccountsThatCannotBeRead: an image may have any /etc or none.
func TestAccountsThatCannotBeRead(t *testing.T) {
	r := newRig(t, limits{})
	for _, spec := range []string{"", "root", "0:0", "12:34"} {
		if _, err := r.s.account(spec); err != nil {
			t.Errorf("%q without an /etc: %v", spec, err)
		}
	}
	etc := filepath.Join(r.s.Root, "etc")
	if err := os.Mkdir(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(etc, "passwd"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.s.account("app"); api.KindOf(err) != api.KindInvalid {
		t.Errorf("with a FIFO for an /etc/passwd: %v", err)
	}
	if err := os.Mkdir(filepath.Join(etc, "group"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := r.s.account("12:wheel"); api.KindOf(err) != api.KindInvalid {
		t.Errorf("with a directory for an /etc/group: %v", err)
	}
	if a, err := r.s.account(""); err != nil || a.name != "root" || a.credential != nil {
		t.Errorf("%+v, %v", a, err)
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

// TestWorkingDirectoryOfAnImage: it is made where it is missing, and only then.
func TestWorkingDirectoryOfAnImage(t *testing.T) {
	r := newRig(t, limits{})
	if _, err := r.s.resolve(api.Exec{Argv: []string{"pwd"}, Dir: "/srv/app"}); api.KindOf(err) != api.KindInvalid {
		t.Errorf("a directory that is ours: %v", err)
	}
	p, err := r.s.resolve(api.Exec{Argv: []string{"pwd"}, Dir: "/srv/app", MakeDir: true})
	if want := filepath.Join(r.s.Root, "srv/app"); err != nil || p.dir != want {
		t.Errorf("%+v, %v", p, err)
	}
	if info, err := os.Stat(filepath.Join(r.s.Root, "srv/app")); err != nil || info.Mode() != 0o755|os.ModeDir {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(filepath.Join(r.s.Root, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/file", "/file/below"} {
		_, err := r.s.resolve(api.Exec{Argv: []string{"pwd"}, Dir: dir, MakeDir: true})
		if want := "cannot start in " + dir + ": not a directory"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
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
	for _, bad := range []int{-1, 65} {
		if _, err := r.s.resolve(api.Exec{Argv: []string{"true"}, StopSignal: bad}); api.KindOf(err) != api.KindInvalid {
			t.Errorf("signal %d: %v", bad, err)
		}
	}
}
