package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"banger/api"
)

// etc gives a guest an /etc/passwd and an /etc/group.
func (g guest) etc(t *testing.T, passwd, group string) {
	t.Helper()
	etc := filepath.Join(g.root, "etc")
	if err := os.MkdirAll(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"passwd": passwd, "group": group} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
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
	g := guest{t.TempDir()}
	g.etc(t, somePasswd, someGroup)
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
		a, err := g.account(spec)
		got := ""
		switch {
		case err != nil:
			got = err.Error()
			if api.KindOf(err) != api.KindInvalid {
				t.Errorf("%.60s: kind %s", spec, api.KindOf(err))
			}
		case a.Credential == nil:
			got = "played by this process"
		default:
			got = fmt.Sprint(a.Name, " ", a.Credential.Uid, ":", a.Credential.Gid, " ", a.Credential.Groups, " ", a.Shell)
		}
		if got != want {
			t.Errorf("%.60s is\n%s, not\n%s", spec, got, want)
		}
	}
}

// TestAccountsThatCannotBeRead: an image may have any /etc or none.
func TestAccountsThatCannotBeRead(t *testing.T) {
	g := guest{t.TempDir()}
	for _, spec := range []string{"", "root", "0:0", "12:34"} {
		if _, err := g.account(spec); err != nil {
			t.Errorf("%q without an /etc: %v", spec, err)
		}
	}
	etc := filepath.Join(g.root, "etc")
	if err := os.Mkdir(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(etc, "passwd"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := g.account("app"); api.KindOf(err) != api.KindInvalid {
		t.Errorf("with a FIFO for an /etc/passwd: %v", err)
	}
	if err := os.Mkdir(filepath.Join(etc, "group"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := g.account("12:wheel"); api.KindOf(err) != api.KindInvalid {
		t.Errorf("with a directory for an /etc/group: %v", err)
	}
	if a, err := g.account(""); err != nil || a.Name != "root" || a.Credential != nil {
		t.Errorf("%+v, %v", a, err)
	}
}

// resolve finds the program of a command.
func (g guest) resolve(exec api.Exec) (*program, error) {
	return newCommand(&Runner{guest: g}, exec).resolve()
}

// TestWorkingDirectoryOfAnImage: it is created if it is missing, and only then.
func TestWorkingDirectoryOfAnImage(t *testing.T) {
	g := guest{t.TempDir()}
	if _, err := g.resolve(api.Exec{Argv: []string{"pwd"}, Dir: "/srv/app"}); api.KindOf(err) != api.KindInvalid {
		t.Errorf("a directory that is ours: %v", err)
	}
	p, err := g.resolve(api.Exec{Argv: []string{"pwd"}, Dir: "/srv/app", MakeDir: true})
	if want := filepath.Join(g.root, "srv/app"); err != nil || p.dir != want {
		t.Errorf("%+v, %v", p, err)
	}
	if info, err := os.Stat(filepath.Join(g.root, "srv/app")); err != nil || info.Mode() != 0o755|os.ModeDir {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(filepath.Join(g.root, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/file", "/file/below"} {
		_, err := g.resolve(api.Exec{Argv: []string{"pwd"}, Dir: dir, MakeDir: true})
		if want := "cannot start in " + dir + ": not a directory"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestStopSignalIsASignal: others are refused before anything runs.
func TestStopSignalIsASignal(t *testing.T) {
	g := guest{t.TempDir()}
	for _, bad := range []int{-1, 65} {
		if _, err := g.resolve(api.Exec{Argv: []string{"true"}, StopSignal: bad}); api.KindOf(err) != api.KindInvalid {
			t.Errorf("signal %d: %v", bad, err)
		}
	}
}
