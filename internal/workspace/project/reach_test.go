package project

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"

	"github.com/google/go-cmp/cmp"
)

func openAllowed(t *testing.T, path string) *Allowed {
	t.Helper()
	a, err := OpenAllowed(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestNeedsInPlainWords(t *testing.T) {
	c := parse(t, everything+"\n[[files]]\nhost = \"~/a b\\u202E\"\nguest = \"/x\"\n")
	c.Network, c.Ports[2].HostPort, c.Ports[2].Address = api.NetworkNAT, 0, "::"
	want := []string{
		"copies ~/.npmrc of this host into the VM, to ~/.npmrc",
		"copies /etc/hosts of this host into the VM, to /srv/hosts",
		`copies "~/a b\u202e" of this host into the VM, to /x`,
		"copies ~/.vimrc of this host into the VM",
		"copies ~/.config/nvim of this host into the VM",
		"passes the variable NPM_TOKEN of this host to the VM",
		"copies files that git ignores into the VM: .env.test",
		"lets other machines reach port 8443 of this host (0.0.0.0, tcp), which leads to port 443 of the VM",
		"lets other machines reach a free port of this host (::, udp), which leads to port 53 of the VM",
		`lets the VM reach the outside (network "nat"), which your settings do not ("isolated")`,
	}
	a := openAllowed(t, filepath.Join(t.TempDir(), "allowed.json"))
	if diff := cmp.Diff(want, c.Reach("/w", api.NetworkIsolated).Needs(a)); diff != "" {
		t.Error(diff)
	}
	for text, own := range map[string]string{
		"image = \"x\"\nmemory = \"4G\"\nsetup = \"rm -rf /\"\nports = [\"80:80\", \"[::1]:81:81\", \"127.9.9.9:82:82\"]\nenv.A = 1": api.NetworkNone,
		"network = \"nat\"":                              api.NetworkNAT,
		"network = \"none\"\nworkdir = \"/etc\"":         api.NetworkNAT,
		"network = \"isolated\"\ninit = \"systemd\"":     api.NetworkNone,
		"user = \"root\"\nshell = \"/a\"\ndisk = \"1T\"": api.NetworkNAT,
	} {
		if asked := parse(t, text).Reach("/w", own).Needs(a); asked != nil {
			t.Errorf("%q asks: %q", text, asked)
		}
	}
}

// TestOneConfirmationForEachContent: a change of what reaches the host is asked about again, any
// other is not.
func TestOneConfirmationForEachContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "allowed.json")
	base := parse(t, everything)
	now := time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC)
	if err := openAllowed(t, path).Allow(base.Reach("/w", api.NetworkNAT), now); err != nil {
		t.Fatal(err)
	}
	a := openAllowed(t, path)
	asks := func(c Config, top, own string) bool { return len(c.Reach(top, own).Needs(a)) > 0 }
	for what, text := range map[string]string{
		"the same":             everything,
		"another order":        strings.Replace(everything, `"8080:80", "0.0.0.0:8443:443"`, `"0.0.0.0:8443:443", "8080:80"`, 1),
		"other dotfiles first": strings.Replace(everything, `"~/.vimrc", "~/.config/nvim/"`, `"~/.config/nvim", "~/.vimrc"`, 1),
		"another memory":       strings.Replace(everything, "4GiB", "2G", 1),
		"another setup":        strings.Replace(everything, "apt-get update", "apt-get upgrade", 1),
		"other ports":          strings.Replace(everything, "8080:80", "8081:81", 2),
		"another env":          strings.Replace(everything, "PORT = 8080", "PORT = 8081", 1),
		"comments":             strings.ReplaceAll(everything, " = [", " =   [ # why\n"),
	} {
		if c := parse(t, text); asks(c, "/w", api.NetworkNAT) {
			t.Errorf("%s is asked about again", what)
		}
	}
	for what, text := range map[string]string{
		"another file":     strings.Replace(everything, `host = "~/.npmrc"`, `host = "~/.ssh/id_ed25519"`, 1),
		"another place":    strings.Replace(everything, `guest = "/srv/hosts"`, `guest = "/srv/host"`, 1),
		"another mode":     strings.Replace(everything, "0600", "0644", 1),
		"another owner":    strings.Replace(everything, `owner = "dev"`, `owner = "dave"`, 1),
		"a file more":      everything + "[[files]]\nhost = \"~/x\"\nguest = \"/x\"\n",
		"another dotfile":  strings.Replace(everything, "~/.vimrc", "~/.netrc", 1),
		"another variable": strings.Replace(everything, "NPM_TOKEN", "AWS_TOKEN", 1),
		"another ignored":  strings.Replace(everything, ".env.test", ".env", 1),
		"another port":     strings.Replace(everything, "8443:443", "8444:443", 1),
		"another address":  strings.Replace(everything, "0.0.0.0", "192.0.2.1", 1),
		"a target":         strings.Replace(everything, "8443:443", "8443:22", 1),
	} {
		if c := parse(t, text); !asks(c, "/w", api.NetworkNAT) {
			t.Errorf("%s is not asked about", what)
		}
	}
	if !asks(base, "/w2", api.NetworkNAT) {
		t.Error("another workspace is not asked about")
	}
	base.Network = api.NetworkNAT
	if !asks(base, "/w", api.NetworkIsolated) || asks(base, "/w", api.NetworkNAT) {
		t.Error("a network beyond the user's settings is not asked about, or the user's own is")
	}
	// What moves from one key to another is another content.
	one := Config{Dotfiles: []string{"~/a"}}
	other := Config{HostEnv: []string{"~/a"}}
	if one.Reach("/w", "nat").digest() == other.Reach("/w", "nat").digest() {
		t.Error("two keys have the same digest")
	}
}

// TestAllowedFile: the file is the user's alone, is bounded, and a damaged one confirms nothing.
func TestAllowedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "allowed.json")
	reach := func(i int) Reach { return Config{Dotfiles: []string{fmt.Sprint("~/", i)}}.Reach("/w", "nat") }
	a := openAllowed(t, path)
	for i := range maxAllowed + 10 {
		if err := a.Allow(reach(i), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() > maxAllowedBytes {
		t.Errorf("%v, %v", info, err)
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", dir, err)
	}
	again := openAllowed(t, path)
	if reach(5).Needs(again) == nil || reach(10).Needs(again) != nil || reach(maxAllowed+9).Needs(again) != nil {
		t.Error("not the newest hundred are remembered")
	}
	before, _ := os.ReadFile(path)
	if err := again.Allow(reach(10), time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := again.Allow(Config{}.Reach("/w", "nat"), time.Now()); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("what is confirmed already is written again")
	}
	for _, text := range []string{"", "{", "null", "[]", `{"confirmed": 3}`, string(before[:len(before)/2])} {
		os.WriteFile(path, []byte(text), 0o600)
		a := openAllowed(t, path)
		if reach(10).Needs(a) == nil {
			t.Errorf("%.20q confirms", text)
		}
		if err := a.Allow(reach(10), time.Now()); err != nil || reach(10).Needs(openAllowed(t, path)) != nil {
			t.Errorf("%.20q cannot be replaced: %v", text, err)
		}
	}
}

func TestAllowedOfOthersIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "allowed.json")
	if err := openAllowed(t, path).Allow(Config{Dotfiles: []string{"~/a"}}.Reach("/w", "nat"), time.Now()); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func() error{
		"writable":  func() error { return os.Chmod(path, 0o622) },
		"a link":    func() error { return errors.Join(os.Rename(path, path+"x"), os.Symlink(path+"x", path)) },
		"directory": func() error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"of another": func() error {
			if os.Geteuid() != 0 {
				return os.Chmod(path, 0o622) // only root can give a file away
			}
			return os.Chown(path, 12345, 12345)
		},
	} {
		os.RemoveAll(path)
		os.Rename(path+"x", path)
		if _, err := os.Stat(path); err != nil {
			os.WriteFile(path, []byte("{}"), 0o600)
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenAllowed(path); err == nil {
			t.Errorf("%s: it is used", what)
		}
	}
}

// TestAllowFails: what could not be recorded is not confirmed.
func TestAllowFails(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)
	a, r := openAllowed(t, filepath.Join(dir, "none", "allowed.json")), Config{Dotfiles: []string{"~/a"}}.Reach("/w", "nat")
	a.path = filepath.Join(dir, "file", "allowed.json")
	if err := a.Allow(r, time.Now()); err == nil || r.Needs(a) == nil {
		t.Errorf("%v, and it needs %q", err, r.Needs(a))
	}
}
