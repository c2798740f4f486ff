package process

import (
	"os"
	"path/filepath"
	"testing"

	"banger/api"
)

// has makes a root file system with the files.
func has(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, f := range files {
		path := filepath.Join(root, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestLanguage: sessions are in UTF-8 where the image can be and nobody says otherwise.
func TestLanguage(t *testing.T) {
	utf8 := has(t, "usr/lib/locale/C.utf8/LC_CTYPE")
	for _, c := range []struct {
		root string
		env  []string
		want string
	}{
		{utf8, nil, "C.UTF-8"},
		{has(t, "lib/ld-musl-x86_64.so.1"), nil, "C.UTF-8"},
		{utf8, []string{"LANG=de_DE.UTF-8"}, "de_DE.UTF-8"},
		{utf8, []string{"LANG="}, ""},
		{has(t, "bin/busybox"), nil, ""},
	} {
		g := guest{c.root}
		if got := lastValue(g.environment(Account{}, api.Exec{Env: c.env}), "LANG"); got != c.want {
			t.Errorf("%v: %q, want %q", c.env, got, c.want)
		}
	}
}

// TestTerminal: what the guest does not know becomes the nearest that it knows.
func TestTerminal(t *testing.T) {
	debian := has(t, "lib/terminfo/x/xterm-256color", "lib/terminfo/x/xterm", "lib/terminfo/s/screen-256color", "lib/terminfo/d/dumb", "root/.terminfo/f/foot",
		"opt/terms/78/xterm-odd")
	for _, c := range []struct {
		root, term, want string
	}{
		{debian, "xterm", "xterm"},
		{debian, "dumb", "dumb"},
		{debian, "xterm-kitty", "xterm-256color"},
		{debian, "alacritty", "xterm-256color"},
		{debian, "tmux-256color", "screen-256color"},
		{debian, "foot", "foot"},
		{debian, "xterm-odd", "xterm-odd"},
		{debian, "../../../etc/passwd", "xterm-256color"},
		{has(t, "usr/share/terminfo/v/vt100"), "xterm-kitty", "vt100"},
		{has(t, "bin/busybox"), "xterm-kitty", "xterm-kitty"},
	} {
		g := guest{c.root}
		env := []string{"TERM=" + c.term, "TERMINFO_DIRS=/opt/terms:"}
		got := lastValue(g.environment(Account{Home: "/root"}, api.Exec{TTY: true, Env: env}), "TERM")
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.term, got, c.want)
		}
		if got := lastValue(g.environment(Account{}, api.Exec{Env: env}), "TERM"); got != c.term {
			t.Errorf("without a terminal %s became %s", c.term, got)
		}
	}
}
