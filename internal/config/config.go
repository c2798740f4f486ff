// Package config reads the user's settings: config.toml, then BANGER_<KEY>
// from the environment, which wins, and for what neither names, defaults and
// choices made from the host's size.
package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"banger/api"

	"github.com/BurntSushi/toml"
)

// Config is every setting as it is in force.
type Config struct {
	// For new VMs, where the request does not say otherwise.
	VCPUs       int
	MemoryBytes int64
	DiskBytes   int64
	Image       string
	Kernel      string // empty: the distribution's newest
	Driver      string
	Init        string // of the guest: agent, systemd or auto
	Accel       string // kvm, tcg, or empty for what a probe finds

	// Programs, where they are not in the usual directories.
	Firecracker, Jailer, QEMU string

	// FirecrackerURL is where releases of Firecracker are got from.
	FirecrackerURL string

	// RegistryCA is a file with certificates of authorities that registries may be
	// signed by, beside the system's; empty: none.
	RegistryCA string
	// RegistryMirrors are where images of a registry are looked for first: the mirror's
	// host, and perhaps a path in it, by the registry's name.
	RegistryMirrors map[string]string

	// RegistryAuth is a file with passwords of registries, as Docker or Podman write it,
	// beside the usual ones; empty: none.
	RegistryAuth string

	// Path are the directories that the daemon looks for programs in, as in PATH; empty:
	// the usual ones.
	Path string
	// HTTPProxy, HTTPSProxy and NoProxy are what the variables of these names mean; empty:
	// those of the daemon's own environment, which a client that starts it leaves out.
	HTTPProxy, HTTPSProxy, NoProxy string

	// ImageNames are short names for images and the references that they stand
	// for: the built-in ones, and over them those of the file's table.
	ImageNames map[string]string

	// For all VMs.
	Grace        time.Duration // for a guest to shut down
	BootTimeout  time.Duration // for a guest to answer after its start
	ConsoleBytes int64         // how much of the serial console is kept

	file    string
	origins map[string]origin
}

// origin says where a value comes from; it is part of `config show`.
type origin string

const (
	fromFile        origin = "file"
	fromEnvironment origin = "environment"
	fromHost        origin = "host"
	fromDefault     origin = "default"
)

// maxFile bounds config.toml: real ones have a dozen lines.
const maxFile = 1 << 20

// newConfig is the configuration before anything is read: of the settings it has
// none.
func newConfig(path string) Config {
	c := Config{file: path, origins: map[string]origin{}, ImageNames: maps.Clone(builtinNames)}
	for name := range c.ImageNames {
		c.origins[imageNames+"."+name] = fromDefault
	}
	return c
}

// Load reads the settings. A file that is not there is an empty one. env is
// os.Getenv outside tests.
func Load(path string, env func(string) string, host Host) (Config, error) {
	c := newConfig(path)
	for _, s := range settings() {
		value, from := s.fallback(host)
		if err := s.set(&c, value); err != nil {
			return Config{}, api.Errorf(api.KindInternal, "the default of %s is wrong: %w", s.key, err)
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
		err = errors.New("it is no ordinary file of a sensible size")
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
	for _, key := range meta.Keys() {
		if isImageName(key) {
			if err := c.setImageName(key, values); err != nil {
				return fmt.Errorf("line %d: %w", lineOf(text, key), err)
			}
			continue
		}
		s, ok := known[key.String()]
		if !ok {
			return fmt.Errorf("line %d: there is no setting %q", lineOf(text, key), key.String())
		}
		value, err := scalar(values[s.key])
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

func scalar(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int64:
		return fmt.Sprint(v), nil
	default:
		return "", errors.New("write a number or a text in quotes")
	}
}

// lineOf finds the line that sets key: the toml package does not say. It looks
// for the key's last part at the start of a line, of a key in a table after the
// table's head.
func lineOf(text string, key toml.Key) int {
	last, head := key[len(key)-1], 0
	for i, line := range strings.Split(text, "\n") {
		left, _, _ := strings.Cut(line, "=")
		left = strings.Trim(strings.TrimSpace(left), `[]"' `)
		switch {
		case len(key) > 1 && left == key[0]:
			head = i + 1
		case len(key) > 1 && head == 0 && left == last:
			// A setting of that name, before the table begins.
		case left == last || strings.HasSuffix(left, "."+last):
			return i + 1
		}
	}
	return max(head, 1)
}

// File is where the settings were looked for.
func (c Config) File() string { return c.file }

// API returns the settings as `config show` lists them.
func (c Config) API() api.Config {
	out := api.Config{File: c.file}
	for _, s := range settings() {
		out.Values = append(out.Values, api.ConfigValue{Key: s.key, Value: s.get(c), Origin: string(c.origins[s.key])})
	}
	for _, name := range c.sortedNames() {
		key := imageNames + "." + name
		out.Values = append(out.Values, api.ConfigValue{Key: key, Value: c.ImageNames[name], Origin: string(c.origins[key])})
	}
	return out
}
