package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/label"
)

// The tables of config.toml beside image_names.
const (
	vmDefaults    = "vm_defaults"
	imageDefaults = "image_defaults"
	profileTable  = "profile"
	fileSync      = "file_sync"
)

// Preset is what a table says about new VMs: texts of settings by their keys.
type Preset map[string]string

// Values returns the settings of a preset; what it does not set is zero.
func (p Preset) Values() Config {
	var c Config
	for _, s := range settings() {
		if value, ok := p[s.key]; ok {
			_ = s.set(&c, value) // it was checked when it was read
		}
	}
	if nat, ok := p["nat"]; ok { // another way to say it
		c.Network = api.NetworkIsolated
		if nat == "true" {
			c.Network = api.NetworkNAT
		}
	}
	return c
}

// tables are the readers of the tables, by their names. value is what the toml package made of
// the table.
func tables() map[string]func(c *Config, at place, value any) error {
	return map[string]func(*Config, place, any) error{
		vmDefaults:    (*Config).readVMDefaults,
		imageDefaults: (*Config).readImageDefaults,
		profileTable:  (*Config).readProfiles,
		fileSync:      (*Config).readFileSync,
	}
}

// readVMDefaults reads settings of new VMs, which may stand outside of the table as well.
func (c *Config) readVMDefaults(at place, value any) error {
	preset, err := readPreset(at, value, "")
	if err != nil {
		return err
	}
	for _, s := range settings() {
		if text, ok := preset[s.key]; ok {
			_ = s.set(c, text) // it was checked in readPreset
			c.origins[s.key] = fromFile
		}
	}
	return nil
}

func (c *Config) readImageDefaults(at place, value any) error {
	named, err := subtables(at, value)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		in := at.in(name)
		if w, err := word(name); err != nil || w == "" {
			return in.errorf("", "%.80q is not a valid name of an image", name)
		}
		if c.ImageDefaults[name], err = readPreset(in, named[name], "image"); err != nil {
			return err
		}
	}
	return nil
}

var profileNames = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func (c *Config) readProfiles(at place, value any) error {
	named, err := subtables(at, value)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		in := at.in(name)
		if !profileNames.MatchString(name) {
			return in.errorf("", "%.80q is not a valid name of a profile: use letters, digits and, after the first, dots, dashes and underscores", name)
		}
		if c.Profiles[name], err = readPreset(in, named[name], ""); err != nil {
			return err
		}
	}
	return nil
}

// subtables returns the tables in a table.
func subtables(at place, value any) (map[string]any, error) {
	named, ok := value.(map[string]any)
	if !ok {
		return nil, at.errorf("", "%s has a table for each name: use [%s.NAME]", at.path[0], at.path[0])
	}
	return named, nil
}

// readPreset reads a table of settings for new VMs, except one.
func readPreset(at place, value any, except string) (Preset, error) {
	table, ok := value.(map[string]any)
	if !ok {
		return nil, at.errorf("", "%s is a table: use %s", at.name(), at.header())
	}
	known, others := map[string]setting{}, map[string]setting{}
	var keys []string
	for _, s := range settings() {
		if s.ofVM && s.key != except {
			known[s.key] = s
			keys = append(keys, s.key)
		} else {
			others[s.key] = s
		}
	}
	preset := Preset{}
	for _, key := range slices.Sorted(maps.Keys(table)) {
		s, ok := known[key]
		if _, other := others[key]; other && key != except {
			return nil, at.errorf(key, "%s is a setting for all VMs: move it above the first table", key)
		}
		if !ok {
			return nil, at.errorf(key, "%.80q is not valid in %s: use %s", key, at.header(), strings.Join(keys, ", "))
		}
		text, err := s.text(table[key])
		var c Config
		if err == nil {
			err = s.set(&c, text)
		}
		if err != nil {
			return nil, at.errorf(key, "%s: %w", key, err)
		}
		preset[key] = s.get(c)
	}
	if preset["network"] != "" && preset["nat"] != "" {
		return nil, at.errorf("nat", "nat and network say the same: remove one of the two")
	}
	return preset, nil
}

// text returns a value of the file as the text that the setting parses.
func (s setting) text(v any) (string, error) {
	if all, ok := v.([]any); ok && s.list {
		var items []string
		for _, item := range all {
			text, ok := item.(string)
			if !ok || text == "" || strings.Contains(text, listSeparator) {
				return "", errors.New("use a list of texts in quotes, without spaces")
			}
			items = append(items, text)
		}
		return strings.Join(items, listSeparator), nil
	}
	text, err := Scalar(v)
	if err != nil && s.list {
		err = errors.New("use a list of texts in quotes")
	}
	return text, err
}

// listSeparator separates the items of a list in a text.
const listSeparator = " "

// list splits the text of a setting that is a list.
func list(text string) []string { return strings.Fields(text) }

// profile returns the profile of a name, which may be empty.
func (c Config) profile(name string) (Preset, error) {
	preset, ok := c.Profiles[name]
	if ok || name == "" {
		return preset, nil
	}
	err := api.Errorf(api.KindNotFound, "no profile named %.80q in %s", name, c.file)
	if len(c.Profiles) == 0 {
		return nil, err.WithHint("add a table [%s.NAME] to the file", profileTable)
	}
	return nil, err.WithHint("profiles there are: %s", strings.Join(slices.Sorted(maps.Keys(c.Profiles)), ", "))
}

// Apply adds to a request what the tables say about its profile and its image. What it leaves out
// then is for the other settings.
func (c Config) Apply(req api.CreateVM) (api.CreateVM, error) {
	profile, err := c.profile(req.Profile)
	if err != nil {
		return req, err
	}
	image := cmp.Or(req.Image, profile["image"], c.Image)
	for _, from := range []Config{profile.Values(), c.ImageDefaults[image].Values(), {Network: c.Network, Publish: c.Publish, Labels: c.Labels}} {
		if req, err = from.fill(req); err != nil {
			return req, err
		}
	}
	return req, nil
}

// fill sets what a request leaves out.
func (c Config) fill(req api.CreateVM) (_ api.CreateVM, err error) {
	req.Image, req.Kernel = cmp.Or(req.Image, c.Image), cmp.Or(req.Kernel, c.Kernel)
	req.Driver, req.Init = cmp.Or(req.Driver, c.Driver), cmp.Or(req.Init, c.Init)
	req.VCPUs, req.MemoryBytes = cmp.Or(req.VCPUs, c.VCPUs), cmp.Or(req.MemoryBytes, c.MemoryBytes)
	req.DiskBytes, req.Network = cmp.Or(req.DiskBytes, c.DiskBytes), cmp.Or(req.Network, c.Network)
	req.Tools = cmp.Or(req.Tools, c.Tools)
	if len(req.Publish) == 0 {
		req.Publish = c.Publish
	}
	req.Labels, err = label.Apply(c.Labels, req.Labels, nil) // an error: too many together
	return req, err
}

// Fill sets what a request leaves out.
func (p Preset) Fill(req api.CreateVM) (api.CreateVM, error) { return p.Values().fill(req) }

// OfImage begins the Origin of a value that APIFor found in the table of an image.
const OfImage = "image "

// APIFor returns the settings for `config show` as they apply to a new VM of a profile and an
// image. Each may be empty; the image is then that of the profile, or the default.
func (c Config) APIFor(profile, image string) (api.Config, error) {
	preset, err := c.profile(profile)
	if err != nil {
		return api.Config{}, err
	}
	image = cmp.Or(image, preset["image"], c.Image)
	out := api.Config{File: c.file}
	for _, s := range settings() {
		v := api.ConfigValue{Key: s.key, Value: s.get(c), Origin: string(c.origins[s.key])}
		if value, ok := c.ImageDefaults[image][s.key]; ok {
			v.Value, v.Origin = value, OfImage+image
		}
		if value, ok := preset[s.key]; ok {
			v.Value, v.Origin = value, "profile "+profile
		}
		if s.key == "image" && v.Value != image {
			v.Value, v.Origin = image, string(fromRequest)
		}
		out.Values = append(out.Values, v)
	}
	return out, nil
}

// ProfileOf returns the profile's name of a key that `config show` lists, such as
// profile.web.memory.
func ProfileOf(key string) (name string, ok bool) {
	parts := keyParts(key)
	if len(parts) != 3 || parts[0] != profileTable {
		return "", false
	}
	return parts[1], true
}

// shown are the entries of the tables for `config show`.
func (c Config) shown() []api.ConfigValue {
	var all []api.ConfigValue
	presets := func(table string, named map[string]Preset) {
		for _, name := range slices.Sorted(maps.Keys(named)) {
			for _, key := range slices.Sorted(maps.Keys(named[name])) {
				path := place{path: []string{table, name, key}}
				all = append(all, api.ConfigValue{Key: path.name(), Value: named[name][key], Origin: string(fromFile)})
			}
		}
	}
	presets(imageDefaults, c.ImageDefaults)
	presets(profileTable, c.Profiles)
	for i, f := range c.Files {
		all = append(all, api.ConfigValue{Key: fmt.Sprintf("%s.%d", fileSync, i+1), Value: f.String(), Origin: string(fromFile)})
	}
	return all
}
