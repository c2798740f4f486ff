package config

import "maps"

// Documented is a setting as the reference page shows it (docs/configuration.md).
type Documented struct {
	Key string
	Doc string // what it is for
	// Default is the value if nobody sets another; empty: there is none, or, with OfHost,
	// it follows from the size of the host, as Doc says.
	Default string
	OfHost  bool
	// Variable is the environment variable of a command that overrides the setting for what
	// this command makes; empty: the environment does not count.
	Variable string
}

// tablesDoc describes the tables of config.toml, for the reference page and the help.
var tablesDoc = []Documented{
	{Key: vmDefaults, Doc: "[vm_defaults]: settings of new VMs, which may stand outside of it as well"},
	{Key: imageDefaults, Doc: `[image_defaults."NAME"]: the same for the VMs of an image`},
	{Key: profileTable, Doc: "[profile.NAME]: the same for VMs that are made with --profile NAME"},
	{Key: fileSync, Doc: "[[file_sync]]: a file or directory that each start copies into the guest"},
}

// PresetKeys are the settings that the tables vm_defaults, image_defaults and profile may have.
func PresetKeys() []string {
	var keys []string
	for _, s := range settings() {
		if s.ofVM {
			keys = append(keys, s.key)
		}
	}
	return keys
}

// Document describes every setting of config.toml, in the order of Help.
func Document() []Documented {
	var all []Documented
	for _, s := range settings() {
		d := Documented{Key: s.key, Doc: s.doc}
		if value, from := s.fallback(Host{}); from == fromHost {
			d.OfHost = true
		} else {
			d.Default = value
		}
		if s.ofCommand {
			d.Variable = s.variable()
		}
		all = append(all, d)
	}
	return all
}

// BuiltinImageNames are the short names that image_names begins with, and what they stand for.
func BuiltinImageNames() map[string]string { return maps.Clone(builtinNames) }
