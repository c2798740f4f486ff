package project

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/config"
	"banger/internal/size"

	"github.com/google/go-cmp/cmp"
)

// random makes values of a Config.
type random struct{ *rand.Rand }

func (r random) maybe() bool { return r.IntN(2) == 0 }

func (r random) of(all ...string) string { return all[r.IntN(len(all))] }

// text is any text of a file, those that look like TOML included.
func (r random) text() string {
	return r.of("a", "make -j4", "x = 1\n[env]\n", `"""`, "'''", `\n\`, "\"", "#", "tab\tcr\r\nend", "é世\u202e\U000e0041\u0085", "\x7f\x01", "]]", "$HOME/`id`") +
		fmt.Sprint(r.IntN(100))
}

// list has up to three different items.
func (r random) list(item func() string) (all []string) {
	for i := range r.IntN(4) {
		all = append(all, fmt.Sprintf("%s%d", item(), i))
	}
	return all
}

// name is the name of a file, without control characters.
func (r random) name() string {
	return r.of("a", "a b", "é", "x\"y", "a/b", "\\", "[x]", "*.go", "\u202e")
}

func (r random) config() Config {
	c := Config{
		Image: r.of("", "debian", "a/b:1"), Network: r.of("", "nat", "isolated", "none"), Init: r.of("", "auto", "/sbin/init"), Tools: r.of("", "none"),
		VCPUs: r.IntN(5), MemoryBytes: int64(r.IntN(2)) * (128*size.MiB + int64(r.IntN(1000))*size.KiB), DiskBytes: int64(r.IntN(2)) * 20 * size.GiB,
		Workdir: r.of("", "/srv/"+r.name()), User: r.of("", "1000:1000"), Shell: r.of("", "/bin/sh"),
		HostEnv:  r.list(func() string { return "H_" }),
		Dotfiles: r.list(func() string { return "~/" + r.name() }),
		Sync:     Sync{Include: r.list(r.name)},
	}
	for i := range r.IntN(3) {
		c.Ports = append(c.Ports, api.PublishedPort{Address: r.of("127.0.0.1", "::", "10.0.0.1"), HostPort: r.IntN(1 << 16), GuestPort: i + 1, Protocol: r.of("tcp", "udp")})
		c.Files = append(c.Files, config.FileSync{Host: r.of("~/", "/") + r.name(), Guest: fmt.Sprintf("/g%d/%s", i, r.name()), Mode: uint32(r.IntN(0o1000)), Owner: r.of("", "dev")})
		if r.maybe() {
			c.Setup = append(c.Setup, Script(r.text()))
		} else {
			c.Setup = append(c.Setup, append(Command{"p"}, r.list(r.text)...))
		}
		if c.Env == nil {
			c.Env = map[string]string{}
		}
		c.Env[fmt.Sprintf("E_%d", i)] = r.text()
	}
	if len(c.Setup) > 0 {
		c.Cache = r.list(r.name)
	}
	return c
}

// TestWriteIsRead: what Write writes is what Parse reads, whatever is in the values and comments.
func TestWriteIsRead(t *testing.T) {
	r := random{rand.New(rand.NewPCG(1, 2))}
	for range 1000 {
		c, why := r.config(), map[string][]string{"": r.list(r.text)}
		for _, e := range keys() {
			why[e.name] = r.list(r.text)
		}
		var b bytes.Buffer
		if err := c.Write(&b, why); err != nil {
			t.Fatal(err)
		}
		again, err := Parse("banger.toml", b.Bytes())
		if diff := cmp.Diff(c, again); err != nil || diff != "" {
			t.Fatalf("%v\n%s\n%s", err, diff, b.String())
		}
	}
}

// TestQuote: each form of a string is chosen where it can hold the text.
func TestQuote(t *testing.T) {
	for text, want := range map[string]string{
		`a 'b'`: `"a 'b'"`, `a "b" \n`: `'a "b" \n'`, `a "b" 'c' d`: `'''a "b" 'c' d'''`, "a\n\tb": "'''\na\n\tb'''", "\n": "'''\n\n'''",
		`"a'`: `"\"a'"`, `"'''a`: `"\"'''a"`, "a\n'": `"a\u000A'"`, "\"\r": `"\"\u000D"`, "\U000e0041": `"\U000E0041"`, "": `""`,
	} {
		got := quote(text)
		if c, err := Parse("x", []byte("setup = [[\"p\", "+got+"]]")); got != want || err != nil || c.Setup[0][1] != text {
			t.Errorf("%q is written %s, want %s; it is read as %q, %v", text, got, want, c.Setup, err)
		}
	}
}

// TestWriteHidesNothing: characters that change how a line looks are escaped.
func TestWriteHidesNothing(t *testing.T) {
	var b bytes.Buffer
	if err := (Config{Setup: []Command{Script("ls \u202e\u200b\x1b[2K")}}).Write(&b, map[string][]string{"setup": {"a\u202eb\x1b[2K\n[env]"}}); err != nil {
		t.Fatal(err)
	}
	if want := "# a?b?[2K?[env]\nsetup = [\"ls \\u202E\\u200B\\u001B[2K\"]\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	if err := (Config{VCPUs: 1}).Write(full{}, nil); err == nil {
		t.Error("an error of the writer is lost")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, fmt.Errorf("full") }

// FuzzParse: a text is refused with a line, or what it says can be written and read again.
func FuzzParse(f *testing.F) {
	f.Add(everything)
	f.Add("setup = ['''a\n''', [\"b\"]]\nenv = {A = 1, B = true}\nfiles = [{host = \"~/a\", guest = \"/b\"}]")
	f.Add("sync.include = [\"a\"]\n\"ima\\u0067e\" = 'x'\r\nports = [\"0:1/udp\"]")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("banger.toml", []byte(text))
		if err != nil {
			if api.KindOf(err) != api.KindInvalid || !strings.HasPrefix(err.Error(), "cannot use banger.toml: ") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		var b bytes.Buffer
		if err := c.Write(&b, map[string][]string{"": {text}}); err != nil {
			t.Fatal(err)
		}
		again, err := Parse("banger.toml", b.Bytes())
		if diff := cmp.Diff(c, again); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s\n%s", text, err, diff, b.String())
		}
		c.Reach("/w", api.NetworkNone).words()
	})
}
