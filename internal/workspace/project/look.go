package project

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/config"
	"banger/internal/host/fsx"
	"banger/internal/size"
)

// Guess is what the files at the top of a workspace say about its VM.
type Guess struct {
	Config Config
	Why    map[string][]string // reasons, by the keys of banger.toml; "" is for all of them
	// Noticed are files that say more than was guessed, each with what is left to the user.
	Noticed []string
}

// Write writes the guess as a banger.toml, with its reasons as comments.
func (g Guess) Write(w io.Writer) error {
	why := maps.Clone(g.Why)
	for _, noticed := range g.Noticed {
		why[""] = append(why[""][:len(why[""]):len(why[""])], "Not applied: "+noticed)
	}
	return g.Config.Write(w, why)
}

// guessedImage is what the guessed commands are for: its packages come by apt.
const guessedImage = "debian"

// maxLooked bounds a file that is looked into, in bytes.
const maxLooked = size.MiB

// systemPath is PATH in a Debian guest.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Look guesses from the names of files at the top of a workspace, and from a little of what is in
// them. It runs nothing. host is this one: a VM gets no more than half of its memory, if that is known.
func Look(top string, host config.Host) (Guess, error) {
	root, err := os.OpenRoot(top)
	if err != nil {
		return Guess{}, api.Errorf(api.KindInvalid, "cannot look into %s: %w", top, fsx.Cause(err))
	}
	defer root.Close()
	l := &look{top: top, root: root, guess: Guess{Why: map[string][]string{}}, env: map[string]string{}}
	for _, language := range []func(*look){goModule, nodePackage, python, rust, ruby, java, php, makefile} {
		language(l)
	}
	l.noticed()
	l.fit(host)
	return l.finish(), nil
}

// fit keeps the memory within half of the host's, in steps of 256 MiB.
func (l *look) fit(host config.Host) {
	const step = 256 * size.MiB
	most := max(host.MemoryBytes/2/step*step, step)
	if host.MemoryBytes > 0 && l.memory > most {
		l.memory = most
		l.why("memory", "half of this host's; %s would be better", size.Format(l.wanted))
	}
}

// look collects a guess.
type look struct {
	top  string
	root *os.Root

	guess    Guess
	packages []string // of Debian
	commands []string // after these are installed
	paths    []string // in front of PATH
	env      map[string]string
	memory   int64
	wanted   int64 // of memory
}

// has reports whether there is a file of that name.
func (l *look) has(name string) bool {
	info, err := l.root.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// first returns the first of some names that is there, or "".
func (l *look) first(names ...string) string {
	if i := slices.IndexFunc(names, l.has); i >= 0 {
		return names[i]
	}
	return ""
}

// read returns the content of a file; if it cannot be used, the guess says so.
func (l *look) read(name string) []byte {
	data, err := ReadFile(l.top, name, maxLooked)
	if err != nil {
		l.notice("%s was not read: %v", name, err)
	}
	return data
}

func (l *look) notice(format string, args ...any) {
	l.guess.Noticed = append(l.guess.Noticed, fmt.Sprintf(format, args...))
}

func (l *look) why(key, format string, args ...any) {
	l.guess.Why[key] = append(l.guess.Why[key], fmt.Sprintf(format, args...))
}

// install adds packages, which reason explains.
func (l *look) install(reason string, packages ...string) {
	l.why("setup", "%s: %s", reason, strings.Join(packages, ", "))
	l.packages = append(l.packages, packages...)
}

// run adds commands that depend on the content of files, as far as these are there.
func (l *look) run(files []string, commands ...string) {
	l.commands = append(l.commands, commands...)
	for _, name := range files {
		if l.has(name) && !slices.Contains(l.guess.Config.Cache, name) {
			l.guess.Config.Cache = append(l.guess.Config.Cache, name)
		}
	}
}

// set sets a variable of the environment.
func (l *look) set(name, value, reason string) {
	l.env[name] = value
	l.why("env", "%s: %s", name, reason)
}

// needs asks for memory: the default of a small host is too little for compilers.
func (l *look) needs(memory int64, reason string) {
	if memory > l.memory {
		l.memory, l.wanted = memory, memory
		l.guess.Why["memory"] = []string{reason}
	}
}

// others are files that say something about an environment and are not applied, with what to do.
var others = []struct{ name, what string }{
	{"Dockerfile", "it says how an image is built; an image from it can be named as image"},
	{"Containerfile", "it says how an image is built; an image from it can be named as image"},
	{"compose.yaml", "services of Docker; with init = \"systemd\" and an image with Docker they run in the VM"},
	{"docker-compose.yml", "services of Docker; with init = \"systemd\" and an image with Docker they run in the VM"},
	{"mise.toml", "tools = \"mise\" uses it, if the image has mise"},
	{".tool-versions", "tools = \"mise\" uses it, if the image has mise"},
	{".nvmrc", "the image's Node.js is used"},
	{"rust-toolchain.toml", "the image's Rust is used"},
	{"Pipfile", "pipenv is not guessed"},
	{"environment.yml", "conda is not guessed"},
}

func (l *look) noticed() {
	for _, name := range []string{".devcontainer/devcontainer.json", ".devcontainer.json"} {
		if l.has(name) {
			l.notice("%s: a dev container describes this repository", name)
		}
	}
	for _, other := range others {
		if l.has(other.name) {
			l.notice("%s: %s", other.name, other.what)
		}
	}
}

func (l *look) finish() Guess {
	c := &l.guess.Config
	if len(l.packages) == 0 {
		l.why("", "No file here says which programs this repository needs.")
		return l.guess
	}
	l.why("", "Guessed from the files of this repository: change what does not fit.")
	packages := slices.Compact(slices.Sorted(slices.Values(append(l.packages, "ca-certificates"))))
	c.Image = guessedImage
	l.why("image", "the setup installs Debian's packages")
	for _, text := range append([]string{
		"apt-get update",
		"DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends " + strings.Join(packages, " "),
	}, l.commands...) {
		c.Setup = append(c.Setup, Script(text))
	}
	if len(c.Cache) > 0 {
		l.why("cache", "the setup runs again if one of these changes")
	}
	if len(l.paths) > 0 {
		l.env["PATH"] = strings.Join(append(l.paths, systemPath), ":")
	}
	if len(l.env) > 0 {
		c.Env = l.env
	}
	c.MemoryBytes = l.memory
	return l.guess
}
