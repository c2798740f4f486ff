package project

import (
	"fmt"
	"strings"
	"testing"

	"banger/api"
)

// TestMistakes: each is refused with its line and its key.
func TestMistakes(t *testing.T) {
	refuses(t, map[string]string{
		"image = \"\"":       "line 1: image: the name of the image is empty",
		"image = \"-x\"":     `line 1: image: "-x" is not a valid name`,
		"image = 3":          "line 1: image: use a text in quotes",
		"\n\nvcpus = 0":      "line 3: vcpus: 0 processors: a VM has from 1 to 128",
		"vcpus = 4294967297": "line 1: vcpus: 129 processors",
		"vcpus = \"2\"":      "line 1: vcpus: use a number without quotes",
		"memory = \"1M\"":    "line 1: memory: 1 MiB is too small",
		"memory = \"4GB\"":   `line 1: memory: "4GB" is ambiguous`,
		"memory = 4":         "line 1: memory: use a text in quotes",
		"disk = \"99T\"":     "line 1: disk: 99 TiB is too large",
		"disk = \" 9G\"":     `line 1: disk: " 9G" has spaces around it`,
		"network = \"host\"": `line 1: network: "host" is not one of nat, isolated and none`,
		"network = \"\"":     `line 1: network: "" is not one of nat, isolated and none`,
		"init = \"runit\"":   `line 1: init: "runit" is not agent`,
		"tools = \"asdf\"":   `line 1: tools: "asdf" is not one of mise and none`,

		"ports = \"8080:80\"":                             "line 1: ports: use a list of texts in quotes, in brackets",
		"ports = [8080]":                                  "line 1: ports: use a text in quotes",
		"ports = [\n\"80:80\",\n\"80\"]":                  `line 3: ports: cannot publish "80": write LISTEN:TARGET`,
		"ports = [\"1:/run/x.sock\"]":                     "only ports can be published",
		"ports = [" + strings.Repeat(`"1:1",`, 101) + "]": "line 1: ports: 101 ports: at most 100 are possible",

		"workdir = \"app\"":       `line 1: workdir: "app" is not the absolute path of something in the guest`,
		"workdir = \"/\"":         `line 1: workdir: "/" is not the absolute path`,
		"workdir = \"/a/../b\"":   `line 1: workdir: "/a/../b" is not the absolute path`,
		"workdir = \"/proc/1\"":   `line 1: workdir: "/proc/1" is not on the guest's disk`,
		"workdir = \"//dev\"":     `line 1: workdir: "//dev" is not on the guest's disk`,
		"workdir = \"/a\\u0007\"": `line 1: workdir: "/a\a" is not a valid name`,
		"user = \"a b\"":          `line 1: user: "a b" is not a valid owner`,
		"shell = \"bash\"":        `line 1: shell: "bash" is not the absolute path`,

		"setup = 3":                     "line 1: setup: use a text in quotes, or a list of them",
		"setup = \" \"":                 "line 1: setup: the command is empty",
		"setup = \"a\\u0000\"":          "line 1: setup: a command cannot have a NUL character",
		"setup = [\"a\",\n [\"\"]]":     "line 2: setup: the name of the program is empty",
		"setup = [[]]":                  "line 1: setup: use a text in quotes, or a list of 1 to 256",
		"setup = [[1]]":                 "line 1: setup: a program and its arguments are texts",
		"setup = [[\"a\",\"\\u0000\"]]": "line 1: setup: a program and its arguments are texts",
		"setup = [" + strings.Repeat(`"a",`, 65) + "]":    "line 1: setup: 65 commands: at most 64",
		"setup = [[" + strings.Repeat(`"a",`, 257) + "]]": "line 1: setup: use a text in quotes, or a list of 1 to 256",

		"cache = [\"a\"]":                      "line 1: cache: it names files for the setup, and there is no setup",
		"setup=\"a\"\ncache = [\"../a\"]":      `line 2: cache: "../a" is not the name of a file below banger.toml's directory`,
		"setup=\"a\"\ncache = [\"/etc/a\"]":    `line 2: cache: "/etc/a" is not the name`,
		"setup=\"a\"\ncache = [\"a/../../b\"]": `line 2: cache: "a/../../b" is not the name`,
		"setup=\"a\"\ncache = [\"\"]":          `line 2: cache: "" is not a valid name`,
	})
}

// refuses checks that each text has a mistake, by what the error says.
func refuses(t *testing.T, mistakes map[string]string) {
	t.Helper()
	for text, want := range mistakes {
		_, err := Parse("banger.toml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || api.KindOf(err) != api.KindInvalid {
			t.Errorf("%.80q: %v\nwant %q", text, err, want)
		}
	}
}

func TestMistakesInTables(t *testing.T) {
	entry := "[[files]]\nhost = \"~/a\"\nguest = \"/a\"\n"
	refuses(t, map[string]string{
		"env = 1":                "line 1: env: it is a table: use [env]",
		"[env]\nA = [1]":         "line 2: env.A: use a number, a text in quotes, true or false",
		"[env]\nA = 1.5":         "line 2: env.A: use a number, a text in quotes, true or false",
		"[env]\nA-B = 1":         `line 2: env.A-B: "A-B" is not a valid name of a variable`,
		"[env]\nA = \"\\u0000\"": "line 2: env.A: a variable cannot have a NUL character",
		"\n[env]\nA = \"" + strings.Repeat("x", 30_000) + "\"\nB = \"" + strings.Repeat("x", 5_000) + "\"": "line 2: env: the variables take 34.2 KiB: at most 32 KiB are possible",
		"host_env = [\"A=1\"]":             `line 1: host_env: "A=1" is not a valid name of a variable`,
		"host_env = [\"A\"]\n[env]\nA = 1": "line 1: host_env: A is in env as well",

		"dotfiles = [\"/etc/passwd\"]": `line 1: dotfiles: "/etc/passwd" is not below ~/`,
		"dotfiles = [\"~/../x\"]":      `line 1: dotfiles: "~/../x" is not the path of one file`,
		"dotfiles = [\"https://a/b\"]": `line 1: dotfiles: "https://a/b" is neither an absolute path nor below ~/`,

		"[sync]\ninclude = [\"../x\"]":     `line 2: sync.include: "../x" is not a pattern of files below`,
		"[sync]\ninclude = [\"/\"]":        `line 2: sync.include: "/" is not a pattern of files below`,
		"[sync]\ninclude = [\"!x\"]":       `line 2: sync.include: "!x" begins with ! or #`,
		"[sync]\ninclude = [\"#x\"]":       `line 2: sync.include: "#x" begins with ! or #`,
		"[sync]\ninclude = [\"x \"]":       `line 2: sync.include: "x " begins with ! or #, or ends with a space`,
		"env = {" + variablesOf(257) + "}": "line 1: env: 257 variables: at most 256 are possible",
		"sync = []":                        "line 1: sync: it is a table: use lines such as include = ",
		"[sync]\nincludes = []":            `line 2: "includes" is not a valid key of sync: use include`,

		"files = 1":                                 "line 1: files: use [[files]] above each entry",
		"files = [1]":                               "line 1: files: use [[files]] above each entry",
		"[files]\nhost = \"~/a\"":                   "line 1: files: use [[files]] above each entry",
		"\n[[files]]\nhost = \"~/a\"":               "line 2: files: guest is missing",
		"[[files]]\nguest = \"/a\"":                 "line 1: files: host is missing",
		entry + "mode = \"999\"":                    `line 4: files.mode: "999" is not a valid mode`,
		entry + "mode = 600":                        `line 4: files.mode: "600" is not a valid mode`,
		entry + "owner = \"a b\"":                   `line 4: files.owner: "a b" is not a valid owner`,
		entry + "large = true":                      `line 4: "large" is not a valid key of files`,
		entry + "\n" + entry:                        "line 7: files.guest: two entries are copied to /a",
		"[[files]]\nhost = \"a\"\nguest = \"/a\"":   `line 2: files.host: "a" is neither an absolute path nor below ~/`,
		"[[files]]\nhost = \"~/a\"\nguest = \"~/\"": `line 3: files.guest: "~/" is not the path of one file`,
		entry + "[[files]]\nhost = \"~/b\"\nguest = \"/a/../../b\"": `line 6: files.guest: "/a/../../b" is not the path of one file`,
		strings.Repeat("[[files]]\n", 65):                           "line 1: files: 65 entries: at most 64 are possible",

		"memory = ":                        "line 1: ",
		"\nvcpus = 1\nvcpus = 2":           "line 3: ",
		"a = " + strings.Repeat("[", 1000): "line 1: it is nested too deeply",
		"image = \"\xff\"":                 "cannot use banger.toml: ",
	})
}

// TestAllMistakesAtOnce: a reader mends them in one go.
func TestAllMistakesAtOnce(t *testing.T) {
	_, err := Parse("/w/banger.toml", []byte("memroy = \"1G\"\nports = [\"80\", \"x\"]\n[env]\nA B = 1"))
	if err == nil || !strings.HasPrefix(err.Error(), "cannot use /w/banger.toml: line 4: ") {
		t.Errorf("a syntax error comes alone: %v", err)
	}
	_, err = Parse("/w/banger.toml", []byte("memroy = \"1G\"\nports = [\"80\",\n \"x\"]\n[env]\n\"A B\" = 1"))
	want := `cannot use /w/banger.toml: it has 4 mistakes
  line 1: "memroy" is not a valid key: use memory
  line 2: ports: cannot publish "80": write LISTEN:TARGET
  line 3: ports: cannot publish "x": write LISTEN:TARGET
  line 5: env."A B": "A B" is not a valid name of a variable: use letters, digits and underscores`
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	if hint := api.AsError(err).Hint; strings.Count(hint, "published ports look like") != 1 {
		t.Errorf("the hint is %q", hint)
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "unknown-%d = 1\n", i)
	}
	_, err = Parse("b", []byte(many.String()))
	if err == nil || strings.Count(err.Error(), "\n") != maxMistakes+1 || !strings.HasSuffix(err.Error(), "and 980 more") {
		t.Errorf("1000 mistakes: %v", err)
	}
}

func TestUnknownKeys(t *testing.T) {
	for text, want := range map[string]string{
		"imgae = 1":                 "use image",
		"VCPUS = 1":                 "use vcpus",
		"publish = 1":               "use ports",
		"forwardPorts = 1":          "use ports",
		"file_sync = 1":             "use files",
		"host-env = 1":              "use host_env",
		"nat = true":                "use network",
		"grace = \"1s\"":            "it is a setting of the user, for config.toml",
		"[sync]\nimage = \"x\"":     "move it above the first table",
		"[[files]]\nsource = \"x\"": "use host",
	} {
		if _, err := Parse("b", []byte(text)); err == nil || !strings.Contains(err.Error(), "is not a valid key") || !strings.Contains(err.Error(), ": "+want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
	if _, err := Parse("b", []byte("[sync]\npublish = 1")); err == nil || strings.Contains(err.Error(), "use ports") {
		t.Errorf("a key of another table: %v", err)
	}
	_, err := Parse("b", []byte("colour = 1"))
	if err == nil || !strings.HasPrefix(api.AsError(err).Hint, "use image, vcpus, memory, disk") {
		t.Errorf("nothing is near: %+v", api.AsError(err))
	}
	_, err = Parse("b", []byte(strings.Repeat("x", 5000)+" = 1"))
	if err == nil || len(err.Error()) > 200 {
		t.Errorf("a long key: %v", err)
	}
}
