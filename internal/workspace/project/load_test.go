package project

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"banger/api"
)

// put writes files below a new directory and returns it.
func put(t *testing.T, files map[string]string) string {
	t.Helper()
	top := t.TempDir()
	for name, text := range files {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return top
}

func TestLoad(t *testing.T) {
	if c, found, err := Load(put(t, nil)); found || err != nil || c.Image != "" {
		t.Errorf("no file: %+v, %t, %v", c, found, err)
	}
	top := put(t, map[string]string{"banger.toml": "image = \"a\"", "real.toml": "image = \"b\""})
	if c, found, err := Load(top); !found || err != nil || c.Image != "a" {
		t.Errorf("a file: %+v, %t, %v", c, found, err)
	}
	os.Remove(filepath.Join(top, Name))
	if err := os.Symlink("real.toml", filepath.Join(top, Name)); err != nil {
		t.Fatal(err)
	}
	if c, found, err := Load(top); !found || err != nil || c.Image != "b" {
		t.Errorf("a link within the workspace: %+v, %t, %v", c, found, err)
	}
	if _, _, err := Load(filepath.Join(top, "none")); err == nil {
		t.Error("a workspace that is not there has no mistake")
	}
	_, found, err := Load(put(t, map[string]string{Name: "\nx = 1"}))
	if !found || api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), Name+": line 2: ") {
		t.Errorf("a mistake: %t, %v", found, err)
	}
}

// TestLoadHostileFiles: what is not a file of the workspace is neither read nor waited for.
func TestLoadHostileFiles(t *testing.T) {
	outside := put(t, map[string]string{"secret": "image = \"secret\""})
	for what, test := range map[string]struct {
		make func(path string) error
		want string
	}{
		"a link out":          {func(path string) error { return os.Symlink(filepath.Join(outside, "secret"), path) }, "escapes"},
		"a relative link out": {func(path string) error { return os.Symlink("../../../../../../etc/hostname", path) }, "escapes"},
		"a device":            {func(path string) error { return os.Symlink("/dev/zero", path) }, "escapes"},
		"a loop":              {func(path string) error { return os.Symlink(Name, path) }, "too many levels"},
		"a FIFO":              {func(path string) error { return syscall.Mkfifo(path, 0o644) }, "it is not a regular file"},
		"a directory":         {func(path string) error { return os.Mkdir(path, 0o755) }, "it is not a regular file"},
		"too large":           {func(path string) error { return os.WriteFile(path, make([]byte, maxFile+1), 0o644) }, "it is larger than 64 KiB"},
		"sparse":              {func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, 1<<40)) }, "it is larger than 64 KiB"},
	} {
		top := t.TempDir()
		if err := test.make(filepath.Join(top, Name)); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		c, found, err := Load(top)
		if !found || api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), top) || c.Image != "" {
			t.Errorf("%s: %+v, %t, %v; want %q", what, c, found, err, test.want)
		}
		if time.Since(begin) > 20*time.Second {
			t.Errorf("%s: it waits", what)
		}
	}
}

func TestCacheKey(t *testing.T) {
	top := put(t, map[string]string{"lock": "1", "web/lock": "2"})
	base := Config{Setup: []Command{Script("make"), {"a", "b"}}, Cache: []string{"lock", "web/lock"}, Env: map[string]string{"A": "1"}}
	key := func(c Config, image string) string {
		t.Helper()
		k, err := c.CacheKey(image, CacheFiles(top))
		if err != nil || len(k) != 64 {
			t.Fatalf("%q, %v", k, err)
		}
		return k
	}
	want := key(base, "sha256:1")
	seen := map[string]string{want: "the first"}
	differs := func(what, k string) {
		t.Helper()
		if other, same := seen[k]; same {
			t.Errorf("%s has the key of %s", what, other)
		}
		seen[k] = what
	}
	differs("another image", key(base, "sha256:2"))
	for what, change := range map[string]func(c *Config){
		"another command":          func(c *Config) { c.Setup = []Command{Script("make "), {"a", "b"}} },
		"another split":            func(c *Config) { c.Setup = []Command{Script("make"), {"a"}, {"b"}} },
		"a script for a program":   func(c *Config) { c.Setup = []Command{{"make"}, {"a", "b"}} },
		"another order":            func(c *Config) { c.Setup = []Command{{"a", "b"}, Script("make")} },
		"another variable":         func(c *Config) { c.Env = map[string]string{"A": "2"} },
		"no variable":              func(c *Config) { c.Env = nil },
		"another user":             func(c *Config) { c.User = "dev" },
		"another directory":        func(c *Config) { c.Workdir = "dev" },
		"another init":             func(c *Config) { c.Init = "systemd" },
		"fewer files":              func(c *Config) { c.Cache = []string{"lock"} },
		"a file that is not there": func(c *Config) { c.Cache = []string{"lock", "web/lock", "none"} },
	} {
		c := base
		change(&c)
		differs(what, key(c, "sha256:1"))
	}
	differs("a split", key(Config{Setup: []Command{{"a"}, {"b", "c"}}}, ""))
	differs("another place of it", key(Config{Setup: []Command{{"a", "b"}, {"c"}}}, ""))
	differs("a command", key(Config{Setup: []Command{{"a"}}}, ""))
	differs("a variable of its name", key(Config{Env: map[string]string{"a": ""}}, ""))
	c := base
	c.Cache, c.HostEnv, c.Dotfiles, c.MemoryBytes = []string{"web/lock", "lock"}, []string{"B"}, []string{"~/a"}, 1
	if key(c, "sha256:1") != want {
		t.Error("what the setup does not get, or the order of its files, makes another key")
	}
	os.WriteFile(filepath.Join(top, "lock"), []byte("3"), 0o644)
	differs("another content", key(base, "sha256:1"))
	os.WriteFile(filepath.Join(top, "lock"), nil, 0o644)
	differs("an empty file", key(base, "sha256:1"))
	os.Remove(filepath.Join(top, "lock"))
	differs("a missing file", key(base, "sha256:1"))
	if err := os.Symlink("/etc/passwd", filepath.Join(top, "lock")); err != nil {
		t.Fatal(err)
	}
	if k, err := base.CacheKey("sha256:1", CacheFiles(top)); err == nil || k != "" || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "lock, which cache in banger.toml names") {
		t.Errorf("a link out counts as content: %q, %v", k, err)
	}
}
