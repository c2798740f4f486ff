package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/internal/size"
)

var laptop = Host{CPUs: 8, MemoryBytes: 12 * size.GiB}

func noEnv(string) string { return "" }

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsFollowTheHost(t *testing.T) {
	for _, test := range []struct {
		host   Host
		vcpus  int
		memory int64
	}{
		{laptop, 2, 1536 * size.MiB},
		{Host{CPUs: 1, MemoryBytes: size.GiB}, 1, 512 * size.MiB},
		{Host{CPUs: 64, MemoryBytes: 512 * size.GiB}, 2, 2 * size.GiB},
		{Host{}, 1, 512 * size.MiB},
	} {
		c, err := Load("/nonexistent/config.toml", noEnv, test.host)
		if err != nil {
			t.Fatal(err)
		}
		if c.VCPUs != test.vcpus || c.MemoryBytes != test.memory {
			t.Errorf("%+v: %d vcpus and %d bytes; want %d and %d", test.host, c.VCPUs, c.MemoryBytes, test.vcpus, test.memory)
		}
	}
}

func TestFileThenEnvironment(t *testing.T) {
	path := write(t, "# mine\nvcpus = 3\nmemory = \"4G\"\ngrace = \"30s\"\naccel = \"tcg\"\n")
	env := func(key string) string { return map[string]string{"BANGER_MEMORY": "1G"}[key] }
	c, err := Load(path, env, laptop)
	if err != nil {
		t.Fatal(err)
	}
	if c.VCPUs != 3 || c.MemoryBytes != size.GiB || c.Grace != 30*time.Second || c.Accel != "tcg" || c.DiskBytes != 8*size.GiB {
		t.Errorf("got %+v", c)
	}
	want := map[string]string{
		"vcpus": "3 file", "memory": "1G environment", "disk": "8G default", "image": "debian default", "grace": "30s file",
	}
	shown := c.API()
	for _, v := range shown.Values {
		if w, ok := want[v.Key]; ok && w != v.Value+" "+v.Origin {
			t.Errorf("%s = %s %s; want %s", v.Key, v.Value, v.Origin, w)
		}
	}
	if shown.File != path {
		t.Errorf("file = %q", shown.File)
	}
}

func TestBadFilesNameTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"vcpus = 2\nmemry = \"4G\"":    `line 2: "memry" is not a valid setting`,
		"[vm]\nmemory = \"4G\"":        `line 1: "vm" is not a valid setting`,
		"memory = 4":                   `line 1: memory: "4" has no unit`,
		"\n\nmemory = \"1M\"":          "line 3: memory: 1 MiB is too small: memory has at least 128M",
		"disk = \"9000T\"":             "9000 TiB is too large: a disk has less than 16T",
		"vcpus = 0":                    "line 1: vcpus: 0 processors",
		"vcpus = true":                 `line 1: vcpus: "true" is not an integer`,
		"vcpus = [1]":                  "line 1: vcpus: use a number, a text in quotes, true or false",
		"nat = 1":                      `line 1: nat: "1" is not true or false`,
		"nat = \"no\"":                 `line 1: nat: "no" is not true or false`,
		"accel = \"warp\"":             "is not one of auto, kvm and tcg",
		"grace = \"-1s\"":              "must be more than zero",
		"memory = ":                    "line 1: ",
		"image = \"a b\"":              "is not a valid name",
		"vcpus = 1\nvcpus = 2":         "line 2: ",
		"vcpus = 99999999999999999999": "line 1: ",
	} {
		path := write(t, text)
		_, err := Load(path, noEnv, laptop)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v; want %q and the file's name in it", text, err, want)
		}
	}
}

func TestBadEnvironmentNamesTheVariable(t *testing.T) {
	env := func(key string) string { return map[string]string{"BANGER_DISK": "lots"}[key] }
	_, err := Load("/nonexistent", env, laptop)
	if err == nil || !strings.Contains(err.Error(), "BANGER_DISK") {
		t.Errorf("got %v", err)
	}
}

func TestHelpNamesEverySetting(t *testing.T) {
	for _, s := range settings() {
		if !strings.Contains(Help(), "  "+s.key+" ") || s.doc == "" {
			t.Errorf("%s is not explained", s.key)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"vcpus = 3\nmemory = \"4G\"", "[vm]\nx=1", "a.b = 1", "\"\" = 2", "memory = {a=1}", "[image_names]\nalma = \"a/b:1\"", "image_names.x = {}",
		"[[file_sync]]\nhost = \"~/a\"\nguest = \"/a\"\n[profile.\"a.b\"]\nvcpus = 1", "profile = [[1]]", "[vm_defaults]\npublish = [\"1:2\"]", "\"\".\"\" = 1\n[\"]\"]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := newConfig("")
		if c.parse(text) == nil && c.VCPUs < 0 {
			t.Fatal("negative processors")
		}
	})
}
