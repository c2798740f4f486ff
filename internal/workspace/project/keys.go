package project

import (
	"slices"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/config"
	"banger/internal/size"
)

// keys are the keys of banger.toml, in the order in which they are written: tables are last.
func keys() []entry[Config] {
	return slices.Concat(machineKeys(), guestKeys(), setupKeys(), hostKeys())
}

// choice is a key whose value is a text that parse checks.
func choice(name, doc, example string, schema *Schema, parse func(string) (string, error), field func(*Config) *string) entry[Config] {
	return entry[Config]{
		name: name, doc: doc, example: quote(example), schema: schema,
		read: func(p place, v any, to *Config) {
			if text, ok := p.text(v); ok {
				p.keep(parse(text))(field(to))
			}
		},
		write: func(c Config) string { return quoteOr(*field(&c)) },
	}
}

// amount is a key whose value is a size.
func amount(name, doc, example string, parse func(string) (int64, error), field func(*Config) *int64) entry[Config] {
	return entry[Config]{
		name: name, doc: doc, example: quote(example), schema: &Schema{Type: "string", Pattern: sizePattern},
		read: func(p place, v any, to *Config) {
			text, ok := p.text(v)
			if !ok {
				return
			}
			if text != strings.TrimSpace(text) {
				p.wrongf("%.40q has spaces around it", text)
				return
			}
			n, err := parse(text)
			if *field(to) = n; err != nil {
				p.wrong(err)
			}
		},
		write: func(c Config) string {
			if n := *field(&c); n != 0 {
				return quote(size.Exact(n))
			}
			return ""
		},
	}
}

func machineKeys() []entry[Config] {
	return []entry[Config]{
		choice("image", "root file system: a name in the cache, or a reference such as `alpine:3.20`, which is then pulled", "debian",
			&Schema{Type: "string", Pattern: imagePattern}, config.ParseImage, func(c *Config) *string { return &c.Image }),
		{
			name: "vcpus", doc: "number of processors", example: "2",
			schema: &Schema{Type: "integer", Minimum: ptr(1), Maximum: ptr(config.MaxVCPUs)},
			read: func(p place, v any, to *Config) {
				n, ok := v.(int64)
				if !ok {
					p.wrongf("use a number without quotes")
					return
				}
				to.VCPUs = int(max(min(n, config.MaxVCPUs+1), -1))
				if err := config.CheckVCPUs(to.VCPUs); err != nil {
					p.wrong(err)
				}
			},
			write: func(c Config) string {
				if c.VCPUs == 0 {
					return ""
				}
				return strconv.Itoa(c.VCPUs)
			},
		},
		amount("memory", "memory", "4G", config.ParseMemory, func(c *Config) *int64 { return &c.MemoryBytes }),
		amount("disk", "size of the disk, which occupies only what is written", "20G", config.ParseDisk, func(c *Config) *int64 { return &c.DiskBytes }),
		choice("network", "`nat`, `isolated`: the host reaches the VM, and the VM reaches nothing, or `none`. If your settings say otherwise, `nat` has to be confirmed", api.NetworkNAT,
			&Schema{Type: "string", Enum: []string{api.NetworkNAT, api.NetworkIsolated, api.NetworkNone}}, parseNetwork, func(c *Config) *string { return &c.Network }),
		choice("init", "process 1 of the guest: `agent`, `systemd` (the image's own init), `auto` (as the image requests), or a program's path", api.InitSystemd,
			&Schema{AnyOf: []*Schema{{Enum: []string{api.InitAgent, api.InitSystemd, api.InitAuto}}, {Type: "string", Pattern: pathPattern}}}, config.ParseInit, func(c *Config) *string { return &c.Init }),
		choice("tools", "`mise`: before commands, mise installs what `mise.toml` or `.tool-versions` names; or `none`", api.ToolsMise,
			&Schema{Type: "string", Enum: []string{api.ToolsMise, api.ToolsNone}}, config.ParseTools, func(c *Config) *string { return &c.Tools }),
		{
			name: "ports", doc: "ports to publish, each `[ADDRESS:]HOSTPORT:GUESTPORT[/udp]`. An address beyond the loopback, which other machines can reach, has to be confirmed", example: `["8080:80"]`, reaches: true,
			schema: listSchema(config.MaxPublish, &Schema{Type: "string", Pattern: portPattern}),
			read:   readPorts,
			write: func(c Config) string {
				var texts []string
				for _, p := range c.Ports {
					texts = append(texts, p.String())
				}
				return quoteList(texts)
			},
		},
	}
}

func guestKeys() []entry[Config] {
	return []entry[Config]{
		choice("workdir", "where the files are in the guest. Default: `/workspaces/`, and the name of the directory on the host", "/srv/app",
			&Schema{Type: "string", Pattern: pathPattern}, ParseWorkdir, func(c *Config) *string { return &c.Workdir }),
		choice("user", "`USER` or `USER:GROUP` of the guest, names or numbers, who owns the files and gets the shell. Default: the image's user, or root", "dev",
			&Schema{Type: "string", Pattern: ownerPattern}, parseOwner, func(c *Config) *string { return &c.User }),
		choice("shell", "path of the shell in the guest. Default: that of its user", "/usr/bin/fish",
			&Schema{Type: "string", Pattern: pathPattern}, parseGuestPath, func(c *Config) *string { return &c.Shell }),
	}
}

func setupKeys() []entry[Config] {
	return []entry[Config]{
		{
			name: "setup", example: `["apt-get update", "apt-get install -y make"]`,
			doc: "commands that make the guest ready. They run once, as root, in `workdir`, with `env`, before files of the host are copied. A text is a script for `/bin/sh -ec`: it ends at the first command that fails. A list of texts is so many scripts; a list in it is a program and its arguments, without a shell",
			schema: &Schema{AnyOf: []*Schema{
				scriptSchema(),
				listSchema(maxCommands, &Schema{AnyOf: []*Schema{scriptSchema(), {Type: "array", MinItems: ptr(1), Items: &Schema{Type: "string"}}}}),
			}},
			read: readSetup, write: writeSetup,
		},
		{
			name: "cache", example: `["package-lock.json"]`,
			doc:    "files whose content, with the image, `setup`, `env`, `user` and `workdir`, decides whether the setup has to run again",
			schema: listSchema(maxCache, &Schema{Type: "string", Pattern: relativePattern}),
			read: func(p place, v any, to *Config) {
				to.Cache = p.list(v, maxCache, "files", checked(checkRelative))
			},
			write: func(c Config) string { return quoteList(c.Cache) },
		},
	}
}

func hostKeys() []entry[Config] {
	return []entry[Config]{
		{
			name: "host_env", example: `["NPM_TOKEN"]`, reaches: true,
			doc:    "variables that shells and commands get with the values that they have on the host. The setup does not get them",
			schema: listSchema(maxHostEnv, &Schema{Type: "string", Pattern: variablePattern}),
			read: func(p place, v any, to *Config) {
				to.HostEnv = p.list(v, maxHostEnv, "variables", checked(CheckVariable))
			},
			write: func(c Config) string { return quoteList(c.HostEnv) },
		},
		{
			name: "dotfiles", example: `["~/.vimrc"]`, reaches: true,
			doc:    "files and directories below your home directory, which are copied to the same place in the guest",
			schema: listSchema(config.MaxCopied, &Schema{Type: "string", Pattern: homePattern}),
			read: func(p place, v any, to *Config) {
				to.Dotfiles = p.list(v, config.MaxCopied, "files", func(text string) (string, error) {
					files, err := config.ParseDotfiles([]string{text})
					return strings.Join(files, ""), err
				})
			},
			write: func(c Config) string { return quoteList(c.Dotfiles) },
		},
		{
			name: "env", example: "", doc: "variables of the setup, of shells and of commands: a text, a number, `true` or `false`",
			schema: &Schema{
				Type: "object", PropertyNames: &Schema{Pattern: variablePattern},
				AdditionalProperties: &Schema{Type: []string{"string", "integer", "boolean"}},
			},
			read: readEnv, block: writeEnv,
		},
		{
			name: "sync", doc: "which files are shipped and synced", reaches: true,
			schema: tableSchema(syncKeys()),
			read:   func(p place, v any, to *Config) { readTable(p, v, syncKeys(), &to.Sync) },
			block:  func(c Config) []string { return writeTable("[sync]", syncKeys(), c.Sync) },
		},
		{
			name: "files", doc: "files and directories of the host to copy into the guest", reaches: true,
			schema: listSchema(config.MaxCopied, tableSchema(fileKeys(), "host", "guest")),
			read:   readFiles,
			block: func(c Config) (lines []string) {
				for _, f := range c.Files {
					lines = append(lines, writeTable("[[files]]", fileKeys(), f)...)
				}
				return lines
			},
		},
	}
}
