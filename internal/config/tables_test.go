package config

import (
	"strings"
	"testing"

	"banger/api"
	"banger/internal/size"

	"github.com/google/go-cmp/cmp"
)

const allTables = `memory = "1G"
dotfiles = ["~/.vimrc", "~/.config/nvim/"]
git_identity = true

[vm_defaults]
vcpus = 1
network = "none"
label = ["env=dev", "a=default"]

[image_defaults."alpine:3.20"]
memory = "200M"
init = "systemd"

[profile.web]
image = "alpine:3.20"
vcpus = 2
publish = ["8080:80", "[::1]:53:53/udp"]
network = "nat"
label = ["team=web", "a=profile"]
tools = "mise"

[[file_sync]]
host = "~/.aws/"
guest = "/root/.aws"
mode = "0600"

[[file_sync]]
host = "/etc/hosts"
guest = "~/hosts"
owner = "dev:users"
large = true
`

func load(t *testing.T, text string) (Config, error) {
	t.Helper()
	return Load(write(t, text), noEnv, laptop)
}

func TestTables(t *testing.T) {
	c, err := load(t, allTables)
	if err != nil {
		t.Fatal(err)
	}
	wantFiles := []FileSync{
		{Host: "~/.aws", Guest: "/root/.aws", Mode: 0o600},
		{Host: "/etc/hosts", Guest: "~/hosts", Owner: "dev:users", Large: true},
	}
	if diff := cmp.Diff(wantFiles, c.Files); diff != "" {
		t.Error(diff)
	}
	if c.VCPUs != 1 || c.MemoryBytes != size.GiB || !c.GitIdentity || strings.Join(c.Dotfiles, " ") != "~/.vimrc ~/.config/nvim" {
		t.Errorf("%+v", c)
	}
}

// TestInlineTables: TOML has more than one form.
func TestInlineTables(t *testing.T) {
	c, err := load(t, "file_sync = [{host = \"~/a\", guest = \"/a\"}, {host = \"~/b\", guest = \"/b\"}]\nprofile.web.vcpus = 2\nvm_defaults = {memory = \"1G\"}\n")
	if err != nil || len(c.Files) != 2 || c.Profiles["web"]["vcpus"] != "2" || c.MemoryBytes != size.GiB {
		t.Errorf("%+v, %v", c, err)
	}
	for text, want := range map[string]string{
		"vcpus = 1\nprofile.web.vcpus = 0":  "line 2: vcpus: 0 processors",
		"\nprofile = {web = {vcpus = 0}}":   "line 2: vcpus: 0 processors",
		"\nfile_sync = [{host = \"~/a\"}]":  "line 2: guest is missing",
		"file_sync = [1]":                   "use [[file_sync]] above each entry",
		"file_sync = []\nvm_defaults.x = 1": `line 2: "x" is not valid in [vm_defaults]`,
	} {
		if _, err := load(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

// TestPrecedence: a request, its profile, its image's defaults, and the other settings, in this
// order.
func TestPrecedence(t *testing.T) {
	c, err := load(t, allTables)
	if err != nil {
		t.Fatal(err)
	}
	ports := []api.PublishedPort{
		{Address: "127.0.0.1", HostPort: 8080, GuestPort: 80, Protocol: "tcp"}, {Address: "::1", HostPort: 53, GuestPort: 53, Protocol: "udp"},
	}
	own := []api.PublishedPort{{Address: "127.0.0.1", HostPort: 1, GuestPort: 2, Protocol: "tcp"}}
	labels, both := map[string]string{"env": "dev", "a": "default"}, map[string]string{"env": "dev", "team": "web", "a": "profile"}
	for _, test := range []struct{ req, want api.CreateVM }{
		{api.CreateVM{}, api.CreateVM{Network: "none", Labels: labels}},
		{
			api.CreateVM{Image: "alpine:3.20", MemoryBytes: 7},
			api.CreateVM{Image: "alpine:3.20", MemoryBytes: 7, Init: "systemd", Network: "none", Labels: labels},
		},
		{
			api.CreateVM{Profile: "web"},
			api.CreateVM{
				Profile: "web", Image: "alpine:3.20", VCPUs: 2, MemoryBytes: 200 * size.MiB, Init: "systemd", Tools: "mise",
				Network: "nat", Publish: ports, Labels: both,
			},
		},
		{
			api.CreateVM{Profile: "web", Image: "x", VCPUs: 5, Network: "none", Publish: own, Tools: "none", Labels: map[string]string{"a": "own"}},
			api.CreateVM{
				Profile: "web", Image: "x", VCPUs: 5, Network: "none", Publish: own, Tools: "none",
				Labels: map[string]string{"env": "dev", "team": "web", "a": "own"},
			},
		},
	} {
		got, err := c.Apply(test.req)
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("%+v: %v\n%s", test.req, err, diff)
		}
	}
	if _, err := c.Apply(api.CreateVM{Profile: "wbe"}); api.KindOf(err) != api.KindNotFound || api.AsError(err).Hint != "profiles there are: web" {
		t.Errorf("an unknown profile: %v", err)
	}
}

func TestConfigForAProfile(t *testing.T) {
	c, err := load(t, allTables)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		profile, image string
		want           map[string]string
	}{
		{"web", "", map[string]string{"image": "alpine:3.20 profile web", "vcpus": "2 profile web", "memory": "200M image alpine:3.20", "disk": "8G default"}},
		{"web", "x", map[string]string{"image": "x command", "memory": "1G file", "network": "nat profile web"}},
		{"", "alpine:3.20", map[string]string{"init": "systemd image alpine:3.20", "vcpus": "1 file", "network": "none file"}},
	} {
		shown, err := c.APIFor(test.profile, test.image)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range shown.Values {
			if want, ok := test.want[v.Key]; ok && want != v.Value+" "+v.Origin {
				t.Errorf("%q, %q: %s is %s %s, want %s", test.profile, test.image, v.Key, v.Value, v.Origin, want)
			}
		}
	}
	keys := map[string]string{}
	for _, v := range c.API().Values {
		keys[v.Key] = v.Value
	}
	for key, want := range map[string]string{
		"profile.web.publish": "127.0.0.1:8080:80 [::1]:53:53/udp", "profile.web.label": "a=profile team=web", `image_defaults."alpine:3.20".memory`: "200M",
		"file_sync.2": "/etc/hosts to ~/hosts, owner dev:users, large", "git_identity": "true",
	} {
		if keys[key] != want {
			t.Errorf("%s is %q, want %q", key, keys[key], want)
		}
	}
}

func TestBadTablesNameTheLine(t *testing.T) {
	entry := "[[file_sync]]\nhost = \"~/a\"\nguest = \"/a\"\n"
	for text, want := range map[string]string{
		"memory = \"1G\"\n\n[vm_defaults]\nvcpus = 1\nmemory = \"2G\"": "line 5: memory is set above [vm_defaults] as well",
		"[vm_defaults]\ngrace = \"1s\"":                                "line 2: grace is a setting for all VMs: move it above the first table",
		"[vm_defaults]\nvcpu = 1":                                      `line 2: "vcpu" is not valid in [vm_defaults]: use vcpus, memory, disk`,
		"vm_defaults = 3":                                              "line 1: vm_defaults is a table: use [vm_defaults]",
		"[profile]\nmemory = \"1G\"":                                   "profile.memory is a table: use [profile.memory]",
		"\n[profile.a]\nvcpus = 1\n\n[profile.b]\nvcpus = 0":           "line 6: vcpus: 0 processors",
		"[profile.\"a b\"]\nvcpus = 1":                                 `line 1: "a b" is not a valid name of a profile`,
		"[profile.a]\npublish = \"80\"":                                `line 2: publish: "80" is not a port such as`,
		"[profile.a]\npublish = [\"1:2\", 3]":                          "line 2: publish: use a list of texts in quotes",
		"[profile.a]\nlabel = [\"team\"]":                              `line 2: label: "team" is not a valid label: it has no value`,
		"[profile.a]\nlabel = [\"team-\"]":                             "line 2: label: cannot remove the label team: a new VM has none",
		"[profile.a]\nlabel = [\"a=b c\"]":                             "line 2: label: use a list of texts in quotes, without spaces",
		"[profile.a]\nnetwork = \"bridge\"":                            `line 2: network: "bridge" is not one of nat, isolated and none`,
		"[image_defaults.\"a b\"]\nvcpus = 1":                          `line 1: "a b" is not a valid name of an image`,
		"[image_defaults.x]\nimage = \"y\"":                            `line 2: "image" is not valid in [image_defaults.x]`,
		"git_identity = \"perhaps\"":                                   `line 1: git_identity: "perhaps" is not true or false`,
		"git_identity = 1.5":                                           "line 1: git_identity: use a number, a text in quotes, true or false",
		"dotfiles = [\"/etc/passwd\"]":                                 `line 1: dotfiles: "/etc/passwd" is not below ~/: use [[file_sync]] for it`,
		"dotfiles = [\"~/../x\"]":                                      `"~/../x" is not the path of one file or directory`,
		"dotfiles = 1.5":                                               "line 1: dotfiles: use a list of texts in quotes",
		"[[file_sync]]\nguest = \"/a\"":                                "line 1: host is missing",
		"[[file_sync]]\nhost = \"~/a\"":                                "line 1: guest is missing",
		entry + "mode = 384":                                           `line 4: mode: "384" is not a valid mode: use octal digits in quotes, such as "0600"`,
		entry + "mode = \"4755\"":                                      `line 4: mode: "4755" is not a valid mode`,
		entry + "mode = \"0\"":                                         `line 4: mode: "0" is not a valid mode`,
		entry + "owner = \"a b\"":                                      `line 4: owner: "a b" is not a valid owner`,
		entry + "large = 1":                                            "line 4: large: use true or false",
		entry + "color = 1":                                            `line 4: "color" is not valid in [[file_sync]]: use host, guest`,
		entry + "\n" + entry:                                           "line 7: guest: two entries are copied to /a",
		entry + "\n[[file_sync]]\nhost = \"a\"\nguest = \"/b\"":        `line 6: host: "a" is neither an absolute path nor below ~/`,
		"[[file_sync]]\nhost = \"/\"\nguest = \"/b\"":                  `line 2: host: "/" is not the path of one file or directory`,
		"[[file_sync]]\nhost = \"~/\"\nguest = \"/b\"":                 `line 2: host: "~/" is not the path of one file or directory`,
		"[[file_sync]]\nhost = \"~/a\"\nguest = 3":                     "line 3: guest: use a path in quotes",
		"[file_sync]\nhost = \"~/a\"":                                  "line 1: use [[file_sync]] above each entry",
		strings.Repeat(entry, 65):                                      "65 entries of file_sync: at most 64 are possible",
	} {
		_, err := load(t, text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.200q: %v; want %q in it", text, err, want)
		}
	}
}

func TestPublishedPorts(t *testing.T) {
	for text, want := range map[string]string{
		"8080:80": "127.0.0.1:8080:80", "0:80": "127.0.0.1:0:80", "localhost:1:2": "127.0.0.1:1:2", "0.0.0.0:8080:80/tcp": "0.0.0.0:8080:80",
		"[::1]:1:2/udp": "[::1]:1:2/udp", "80": "", "80:": "", ":80": "", "1:0": "", "70000:1": "", "1:70000": "", "1:2/sctp": "", "x:1:2": "", "[fe80::1%eth0]:1:2": "", "-1:2": "",
	} {
		ports, err := parsePublish(text)
		if got := formatPublish(ports); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestKeyParts(t *testing.T) {
	for text, want := range map[string][]string{
		"a": {"a"}, ` profile."a.b:c" . 'd'`: {"profile", "a.b:c", "d"}, "profile.x.y": {"profile", "x", "y"},
	} {
		if diff := cmp.Diff(want, keyParts(text)); diff != "" {
			t.Error(diff)
		}
	}
	if name, ok := ProfileOf("profile.web.memory"); !ok || name != "web" {
		t.Error(name, ok)
	}
	if _, ok := ProfileOf("memory"); ok {
		t.Error("memory is one of a profile")
	}
}
