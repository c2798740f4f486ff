package project

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/config"
	"banger/internal/size"

	"github.com/google/go-cmp/cmp"
)

const everything = `image = "registry.example.com/team/image:1"
vcpus = 4
memory = "4GiB"
disk = "20G"
network = "isolated"
init = "systemd"
tools = "mise"
ports = ["8080:80", "0.0.0.0:8443:443", "[::1]:53:53/udp", "8080:80"]
workdir = "/srv/app/"
user = "dev:users"
shell = "/usr/bin/fish"
setup = [
  "apt-get update",
  ["make", "all tools"],
  """
set -x
memory = 3
""",
]
cache = ["package-lock.json", "web/package-lock.json"]
host_env = ["NPM_TOKEN"]
dotfiles = ["~/.vimrc", "~/.config/nvim/"]

[env]
PORT = 8080
DEBUG = true
GREETING = "a \"b\" 'c' \\ \n\t\u00e9"

[sync]
include = [".env.test"]

[[files]]
host = "~/.npmrc"
guest = "~/.npmrc"
mode = "0600"

[[files]]
host = "/etc/hosts"
guest = "/srv/hosts"
owner = "dev"
`

func wholeConfig() Config {
	port := func(address string, host, guest int, protocol string) api.PublishedPort {
		return api.PublishedPort{Address: address, HostPort: host, GuestPort: guest, Protocol: protocol}
	}
	return Config{
		Image: "registry.example.com/team/image:1", VCPUs: 4, MemoryBytes: 4 * size.GiB, DiskBytes: 20 * size.GiB,
		Network: api.NetworkIsolated, Init: api.InitSystemd, Tools: api.ToolsMise,
		Ports:   []api.PublishedPort{port("127.0.0.1", 8080, 80, "tcp"), port("0.0.0.0", 8443, 443, "tcp"), port("::1", 53, 53, "udp")},
		Workdir: "/srv/app", User: "dev:users", Shell: "/usr/bin/fish",
		Setup: []Command{
			{"/bin/sh", "-ec", "apt-get update"}, {"make", "all tools"}, {"/bin/sh", "-ec", "set -x\nmemory = 3\n"},
		},
		Cache: []string{"package-lock.json", "web/package-lock.json"}, HostEnv: []string{"NPM_TOKEN"},
		Dotfiles: []string{"~/.vimrc", "~/.config/nvim"},
		Env:      map[string]string{"PORT": "8080", "DEBUG": "true", "GREETING": "a \"b\" 'c' \\ \n\té"},
		Sync:     Sync{Include: []string{".env.test"}},
		Files: []config.FileSync{
			{Host: "~/.npmrc", Guest: "~/.npmrc", Mode: 0o600}, {Host: "/etc/hosts", Guest: "/srv/hosts", Owner: "dev"},
		},
	}
}

func parse(t *testing.T, text string) Config {
	t.Helper()
	c, err := Parse("banger.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParse(t *testing.T) {
	if diff := cmp.Diff(wholeConfig(), parse(t, everything)); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]Config{
		"":                                  {},
		"setup = \"make\"":                  {Setup: []Command{Script("make")}},
		"setup = [[\"make\"]]":              {Setup: []Command{{"make"}}},
		"dotfiles = ['~/a', '~/a/']":        {Dotfiles: []string{"~/a"}},
		"ports = []\n[env]\n[sync]":         {},
		"env.A = \"1\"\nsync.include=[]":    {Env: map[string]string{"A": "1"}},
		"files = [{host='~/a',guest='/a'}]": {Files: []config.FileSync{{Host: "~/a", Guest: "/a"}}},
	} {
		if diff := cmp.Diff(want, parse(t, text)); diff != "" {
			t.Errorf("%q:\n%s", text, diff)
		}
	}
}

// TestNoKeyIsForgotten: Write writes each key that Parse reads, and each is explained.
func TestNoKeyIsForgotten(t *testing.T) {
	var b bytes.Buffer
	if err := wholeConfig().Write(&b, nil); err != nil {
		t.Fatal(err)
	}
	for _, d := range Document() {
		name := d.Key[strings.LastIndex(d.Key, ".")+1:]
		if d.Doc == "" || !slices.ContainsFunc(strings.Split(b.String(), "\n"), func(line string) bool {
			return strings.HasPrefix(line, name+" = ") || line == "["+name+"]" || line == "[["+name+"]]"
		}) {
			t.Errorf("%s is not written, or not explained: %q", d.Key, d.Doc)
		}
	}
}

func TestRequest(t *testing.T) {
	c := wholeConfig()
	want := api.CreateVM{
		Name: "x", Image: "own", VCPUs: 4, MemoryBytes: 4 * size.GiB, DiskBytes: 20 * size.GiB, Network: api.NetworkIsolated,
		Init: api.InitSystemd, Tools: api.ToolsNone, Publish: c.Ports,
	}
	if diff := cmp.Diff(want, c.Request(api.CreateVM{Name: "x", Image: "own", Tools: api.ToolsNone})); diff != "" {
		t.Error(diff)
	}
	own := []api.PublishedPort{{Address: "127.0.0.1", HostPort: 1, GuestPort: 2, Protocol: "tcp"}}
	if got := c.Request(api.CreateVM{Publish: own}); !cmp.Equal(got.Publish, own) {
		t.Errorf("a command's ports are replaced: %v", got.Publish)
	}
}

// variablesOf is the inside of a table with so many variables.
func variablesOf(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("V%d = 1", i))
	}
	return strings.Join(all, ", ")
}

func TestEnviron(t *testing.T) {
	c := Config{Env: map[string]string{"B": "=2", "A": "1"}, HostEnv: []string{"TOKEN", "NONE", "EMPTY"}}
	if got := c.Environ(nil); !slices.Equal(got, []string{"A=1", "B==2"}) {
		t.Errorf("the setup gets %q", got)
	}
	host := map[string]string{"TOKEN": "secret", "EMPTY": "", "OTHER": "x"}
	got := c.Environ(func(name string) (string, bool) { value, set := host[name]; return value, set })
	if !slices.Equal(got, []string{"A=1", "B==2", "EMPTY=", "TOKEN=secret"}) {
		t.Errorf("a command gets %q", got)
	}
}

func TestDir(t *testing.T) {
	for top, want := range map[string]string{"/home/me/a b": "/workspaces/a b", "/": "/workspaces"} {
		if got := (Config{}).Dir(top); got != want {
			t.Errorf("%s is in %s, want %s", top, got, want)
		}
	}
	if got := (Config{Workdir: "/srv"}).Dir("/home/me/a"); got != "/srv" {
		t.Errorf("workdir does not count: %s", got)
	}
}
