package hostfiles

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/guest/filecopy"
)

// TestLinksStayInside: a link is followed within the home directory, and outside of it within its
// own directory.
func TestLinksStayInside(t *testing.T) {
	home, out := t.TempDir(), t.TempDir()
	for _, name := range []string{home + "/dir/file", out + "/file", out + "/sub/file"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		home + "/relative": "dir/file", home + "/absolute": home + "/dir", home + "/out": out + "/file", home + "/up": "../" + filepath.Base(out), home + "/dead": "none",
		out + "/near": "sub/file", out + "/sub/far": "../file",
	} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	cp := &copying{home: home}
	for host, want := range map[string]string{
		"~/dir/file": "dir/file", home + "/dir": "dir", "~/relative": "dir/file", "~/absolute": "dir", "~/absolute/file": "dir/file",
		"~/out": "link", "~/up": "link", "~/up/file": "link", "~/dead": "missing", "~/none": "missing", out + "/none/file": "missing",
		out + "/file": "file", out + "/near": "sub/file", out + "/sub/far": "link", out: filepath.Base(out),
	} {
		src, err := cp.open(host)
		got := src.File
		switch {
		case errors.Is(err, errMissing):
			got = "missing"
		case api.KindOf(err) == api.KindDenied:
			got = "link"
		case err != nil:
			got = err.Error()
		default:
			src.Root.Close()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

func TestModes(t *testing.T) {
	for _, test := range []struct {
		wanted, mode uint32
		typ          filecopy.Type
		want         uint32
	}{
		{0, 0o4755, filecopy.File, 0o755}, {0, 0o2750, filecopy.Dir, 0o750}, {0o600, 0o644, filecopy.File, 0o600},
		{0o640, 0o755, filecopy.Dir, 0o750}, {0o604, 0o755, filecopy.Dir, 0o705},
	} {
		if got := mode(test.wanted, filecopy.Entry{Mode: test.mode, Type: test.typ}); got != test.want {
			t.Errorf("%+v: %o", test, got)
		}
	}
}

func TestAccounts(t *testing.T) {
	lines := func(text string) (all [][]string) {
		for line := range strings.Lines(text) {
			all = append(all, strings.Split(strings.TrimSpace(line), ":"))
		}
		return all
	}
	a := &accounts{
		read:   true,
		passwd: lines("root:x:0:0::/root\nbad:x:4294967295:0::/\nworse:x:-1:x::/\ndev:x:1000:1001::/home/dev\nrelative:x:5:5::home\n"),
		group:  lines("users:x:100\nbad:x:y\n"),
	}
	for spec, want := range map[string]account{
		"": {0, 0, "/root"}, "dev": {1000, 1001, "/home/dev"}, "1000": {1000, 1001, "/home/dev"}, "dev:users": {1000, 100, "/home/dev"}, "7:8": {7, 8, "/"}, "relative": {5, 5, "/"},
	} {
		if got, err := a.find(t.Context(), spec); err != nil || got != want {
			t.Errorf("%q: %+v, %v", spec, got, err)
		}
	}
	for _, spec := range []string{"bad", "worse", "nobody", "dev:nogroup", "dev:bad", "4294967295"} {
		if got, err := a.find(t.Context(), spec); err == nil {
			t.Errorf("%q: %+v", spec, got)
		}
	}
	empty := &accounts{read: true}
	if got, err := empty.find(t.Context(), "root"); err != nil || got.home != "/root" {
		t.Errorf("without an /etc/passwd: %+v, %v", got, err)
	}
}

// TestGitIdentity: what is written for the guest is what git reads there.
func TestGitIdentity(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("NOT RUN: git is not installed")
	}
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", "")
	cp := &copying{home: home}
	if _, err := cp.identity(t.Context()); api.KindOf(err) != api.KindNotFound || !strings.Contains(err.Error(), "no user.name") {
		t.Errorf("without a configuration: %v", err)
	}
	name, email := `A "B" \ C # ; é`, "a@example.com"
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"config", "--file"}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+home)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(args, err)
		}
		return strings.TrimSuffix(string(out), "\n")
	}
	git(filepath.Join(home, ".gitconfig"), "user.name", "first")
	git(filepath.Join(home, ".gitconfig"), "user.email", email)
	git(filepath.Join(home, "more"), "user.name", name)
	git(filepath.Join(home, ".gitconfig"), "include.path", "more")
	text, err := cp.identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	guest := filepath.Join(home, "guest")
	if err := os.WriteFile(guest, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := git(guest, "user.name"); got != name {
		t.Errorf("the name is %q in the guest, from %s", got, text)
	}
	if got := git(guest, "user.email"); got != email {
		t.Errorf("the address is %q in the guest, from %s", got, text)
	}
}

// TestWarnings: a guest that writes many is not shown in full.
func TestWarnings(t *testing.T) {
	var said warnings
	for range 20 {
		if _, err := said.Write([]byte("banger: x is a socket: skipped\n")); err != nil {
			t.Fatal(err)
		}
	}
	lines := said.lines()
	if len(lines) != maxWarnings+1 || lines[0] != "x is a socket: skipped" || lines[maxWarnings] != "and further ones" {
		t.Errorf("%q", lines)
	}
}
