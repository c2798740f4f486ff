package doctor

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/commands"
	"banger/internal/paths"
)

// installed is a host whose installation has all links.
func installed(t *testing.T) Host {
	t.Helper()
	h := good()
	h.Bin = filepath.Join(t.TempDir(), "a user's place", "bin")
	if err := os.MkdirAll(h.Bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range commands.Names {
		if _, err := commands.Add(filepath.Join(h.Bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// askedFor is the check of the links, of which there is one.
func askedFor(t *testing.T, h Host) api.Check {
	t.Helper()
	var found []api.Check
	for _, c := range Run(t.Context(), h) {
		if c.Name == "commands" {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		t.Fatalf("the check is there %d times", len(found))
	}
	return found[0]
}

// TestEachLinkIsChecked: whichever link is missing or leads elsewhere is named, and what is to be typed mends it
// without a loss.
func TestEachLinkIsChecked(t *testing.T) {
	for _, name := range commands.Names {
		for what, spoil := range map[string]func(path string) error{
			"is missing":                       func(string) error { return nil },
			"is not a link to this banger":     func(path string) error { return os.Symlink("/bin/true", path) },
			"is not a link to this banger\x00": func(path string) error { return os.WriteFile(path, []byte("mine"), 0o755) },
		} {
			h := installed(t)
			if c := askedFor(t, h); c.Status != OK || !strings.Contains(c.Found, name) {
				t.Fatalf("%+v", c)
			}
			path := filepath.Join(h.Bin, name)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			c := askedFor(t, h)
			if c.Status != Warn || c.Found != path+" "+strings.TrimRight(what, "\x00") || strings.Contains(c.Fix, "sudo") {
				t.Errorf("%+v", c)
			}
			if out, err := exec.Command("sh", "-c", c.Fix).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", c.Fix, err, out)
			}
			if c := askedFor(t, h); c.Status != OK {
				t.Errorf("after what was to be typed: %+v", c)
			}
			if _, err := os.Lstat(path + ".other"); (err == nil) != (what != "is missing") {
				t.Errorf("%q: what was there is away: %v", what, err)
			}
		}
	}
}

func TestAllLinksAtOnce(t *testing.T) {
	h := goodSystem()
	h.Bin = t.TempDir()
	c := askedFor(t, h)
	if c.Status != Warn || strings.Count(c.Found, " is missing") != len(commands.Names) || strings.Count(c.Fix, "sudo ln -s ") != len(commands.Names) {
		t.Errorf("%+v", c)
	}
}

func TestWhereTheLinksAre(t *testing.T) {
	for self, want := range map[string]string{
		"/home/ann/.local/lib/banger/versions/v1.0.0/bangerd": "/home/ann/.local/bin",
		"/home/ann/src/banger/bin/bangerd":                    "",
		"/usr/lib/banger/bangerd":                             "",
		"/srv/versions/v1.0.0/bangerd":                        "",
		"":                                                    "",
	} {
		if got := bin(paths.Paths{}, self); got != want {
			t.Errorf("%s: %q", self, got)
		}
		if got := bin(paths.System(), self); got != paths.Commands {
			t.Errorf("in system mode %q", got)
		}
	}
}

// TestNoInstallationHasNoLinks: programs of a checkout, and of a package.
func TestNoInstallationHasNoLinks(t *testing.T) {
	for _, c := range Run(t.Context(), good()) {
		if c.Name == "commands" {
			t.Errorf("%+v", c)
		}
	}
}
