// Package config reads the user's settings: config.toml, then BANGER_<KEY> from the
// environment, which overrides it, then defaults, some of which depend on the host's
// size.
package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"banger/api"
	"banger/internal/size"

	"github.com/BurntSushi/toml"
)

// Config holds the effective settings.
type Config struct {
	// For new VMs, if the request does not set them.
	VCPUs       int
	MemoryBytes int64
	DiskBytes   int64
	Image       string
	Kernel      string // empty: the distribution's newest
	Driver      string
	Init        string // of the guest: agent, systemd or auto
	Tools       string // what sets up tools: mise or none
	NAT         bool   // the guest reaches the outside
	Accel       string // kvm, tcg, or empty for the result of a probe
	Network     string // empty: as NAT says
	Publish     []api.PublishedPort
	Labels      map[string]string

	// ImageDefaults and Profiles take precedence for VMs of an image or a profile, by its name.
	ImageDefaults, Profiles map[string]Preset

	// Files and Dotfiles are copied into guests, and the name and address in git's configuration.
	Files       []FileSync
	Dotfiles    []string // below ~/
	GitIdentity bool

	// BuilderImage is the image of the VM that builds Dockerfiles.
	BuilderImage string

	// Programs that are not in the usual directories.
	Firecracker, Jailer, QEMU string

	// FirecrackerURL is the source of Firecracker's releases.
	FirecrackerURL string

	// RegistryCA is a file with certificates of authorities for registries, in addition
	// to the system's; empty: none.
	RegistryCA string
	// RegistryMirrors are the mirrors of registries, which are tried first: the
	// mirror's host, optionally with a path, by the registry's name.
	RegistryMirrors map[string]string

	// RegistryAuth is a file with passwords of registries in the format of Docker or
	// Podman, in addition to the usual ones; empty: none.
	RegistryAuth string

	// Path are the directories in which the daemon searches programs, as in PATH;
	// empty: the usual ones.
	Path string
	// HTTPProxy, HTTPSProxy and NoProxy replace the variables of these names; empty:
	// those of the daemon's environment, which a client that starts the daemon leaves
	// out.
	HTTPProxy, HTTPSProxy, NoProxy string

	// ImageNames are short names of images and their references: the built-in ones,
	// overridden by those of the file's table.
	ImageNames map[string]string

	// For all VMs.
	Grace        time.Duration // for a guest to shut down
	BootTimeout  time.Duration // for a guest to answer after its start
	ConsoleBytes int64         // how much of the serial console's log is kept

	file    string
	origins map[string]origin
}

// origin is the source of a value, as shown by `config show`.
type origin string

const (
	fromFile        origin = "file"
	fromEnvironment origin = "environment"
	fromHost        origin = "host"
	fromDefault     origin = "default"
	fromRequest     origin = "command" // as asked for
)

// maxFile bounds config.toml in bytes: real ones have a dozen lines.
const maxFile = 1 << 20

// newConfig returns the configuration before anything is read, without settings.
func newConfig(path string) Config {
	c := Config{
		file: path, origins: map[string]origin{}, ImageNames: maps.Clone(builtinNames),
		ImageDefaults: map[string]Preset{}, Profiles: map[string]Preset{},
	}
	for name := range c.ImageNames {
		c.origins[imageNames+"."+name] = fromDefault
	}
	return c
}

// Load reads the settings. A missing file counts as empty. env is os.Getenv, except in
// tests.
func Load(path string, env func(string) string, host Host) (Config, error) {
	c := newConfig(path)
	for _, s := range settings() {
		value, from := s.fallback(host)
		if err := s.set(&c, value); err != nil {
			return Config{}, api.Errorf(api.KindInternal, "the default of %s is invalid: %w", s.key, err)
		}
		c.origins[s.key] = from
	}
	if err := c.readFile(path); err != nil {
		return Config{}, err
	}
	for _, s := range settings() {
		value := env(s.variable())
		if value == "" {
			continue
		}
		if err := s.set(&c, value); err != nil {
			return Config{}, api.Errorf(api.KindInvalid, "cannot use %s from the environment: %w", s.variable(), err)
		}
		c.origins[s.key] = fromEnvironment
	}
	return c, nil
}

func (c *Config) readFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err == nil && (info.Size() > maxFile || !info.Mode().IsRegular()):
		err = fmt.Errorf("it is not a regular file, or larger than %s", size.Exact(maxFile))
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return api.Errorf(api.KindInvalid, "cannot read the configuration %s: %w", path, err)
	}
	if err := c.parse(string(data)); err != nil {
		return api.Errorf(api.KindInvalid, "cannot use the configuration %s: %w", path, err).
			WithHint("banger config show --help   lists the settings")
	}
	return nil
}

// parse applies the text of a config.toml.
func (c *Config) parse(text string) error {
	var values map[string]any
	meta, err := toml.Decode(text, &values)
	if err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			return fmt.Errorf("line %d: %s", syntax.Position.Line, syntax.Message)
		}
		return err
	}
	known := map[string]setting{}
	for _, s := range settings() {
		known[s.key] = s
	}
	if err := twice(text, meta); err != nil {
		return err
	}
	read := tables()
	for _, key := range meta.Keys() {
		if table, ok := read[key[0]]; ok {
			if err := table(c, place{text: text, path: key[:1]}, values[key[0]]); err != nil {
				return err
			}
			read[key[0]] = func(*Config, place, any) error { return nil } // all of it at once
			continue
		}
		if isImageName(key) {
			if err := c.setImageName(key, values); err != nil {
				return fmt.Errorf("line %d: %w", lineOf(text, key), err)
			}
			continue
		}
		s, ok := known[key.String()]
		if !ok {
			return fmt.Errorf("line %d: %q is not a valid setting", lineOf(text, key), key.String())
		}
		value, err := s.text(values[s.key])
		if err == nil {
			err = s.set(c, value)
		}
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", lineOf(text, key), s.key, err)
		}
		c.origins[s.key] = fromFile
	}
	return nil
}

// twice refuses a setting that is in the table vm_defaults and outside of it.
func twice(text string, meta toml.MetaData) error {
	for _, s := range settings() {
		if s.ofVM && meta.IsDefined(s.key) && meta.IsDefined(vmDefaults, s.key) {
			return place{text: text, path: []string{vmDefaults}}.errorf(s.key, "%s is set above [%s] as well: remove one of the two", s.key, vmDefaults)
		}
	}
	return nil
}

// Scalar returns a single value of the file as text.
func Scalar(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int64, bool:
		return fmt.Sprint(v), nil
	default:
		return "", errors.New("use a number, a text in quotes, true or false")
	}
}

// lineOf finds the line that sets key, which the toml package does not report. It
// searches the key's last part at the start of a line, for a key in a table after the
// table's header.
func lineOf(text string, key toml.Key) int {
	last, head := key[len(key)-1], 0
	for i, line := range strings.Split(text, "\n") {
		left, _, _ := strings.Cut(line, "=")
		left = strings.Trim(strings.TrimSpace(left), `[]"' `)
		switch {
		case len(key) > 1 && left == key[0]:
			head = i + 1
		case len(key) > 1 && head == 0 && left == last:
			// A setting of that name, before the start of the table.
		case left == last || strings.HasSuffix(left, "."+last):
			return i + 1
		}
	}
	return max(head, 1)
}

// File returns the path of the settings' file.
func (c Config) File() string { return c.file }

// API returns the settings for `config show`.
func (c Config) API() api.Config {
	out := api.Config{File: c.file}
	for _, s := range settings() {
		out.Values = append(out.Values, api.ConfigValue{Key: s.key, Value: s.get(c), Origin: string(c.origins[s.key])})
	}
	for _, name := range c.sortedNames() {
		key := imageNames + "." + name
		out.Values = append(out.Values, api.ConfigValue{Key: key, Value: c.ImageNames[name], Origin: string(c.origins[key])})
	}
	out.Values = append(out.Values, c.shown()...)
	return out
}
