// Package project reads what a repository says about its VM: the file banger.toml, or a guess from
// the files that are there if it has none.
//
// A repository is a stranger's until its user says otherwise. What its file asks of the host beyond
// the VM is its Reach, which a user confirms once for each content. Everything else stays in the VM.
package project

import (
	"cmp"
	"path"
	"path/filepath"
	"slices"

	"banger/api"
	"banger/internal/config"
)

// Config is a banger.toml. What it leaves out is zero.
type Config struct {
	Image       string
	VCPUs       int
	MemoryBytes int64
	DiskBytes   int64
	Network     string // api.NetworkNAT, api.NetworkIsolated or api.NetworkNone
	Init        string // as api.CreateVM.Init
	Tools       string // as api.CreateVM.Tools
	Ports       []api.PublishedPort

	Workdir string // absolute path of the workspace's files in the guest
	User    string // of the guest, as api.Exec.User: who gets the shell, and owns the files
	Shell   string // absolute path in the guest

	Setup []Command // run once as the guest's root, in Workdir, until one fails
	Cache []string  // files below the workspace whose content decides whether Setup has to run again

	Env     map[string]string
	HostEnv []string // names of variables that have the host's values

	Sync     Sync
	Dotfiles []string          // ~/… on the host, to the same place in the guest
	Files    []config.FileSync // of the host, without Large
}

// Sync says which files are shipped and synced, in the patterns of gitignore(5).
type Sync struct {
	Include []string // also these of those that git ignores
}

// Command is a command of the guest: a program and its arguments.
type Command []string

// shell runs a text as a script that ends at the first command that fails: what was set up by half
// must not become the image from which the next VM starts.
var shell = []string{"/bin/sh", "-ec"}

// Script is the command that runs a text in the guest's shell.
func Script(text string) Command { return append(Command(nil), shell[0], shell[1], text) }

// Script returns the text of a command that runs one in the guest's shell.
func (c Command) Script() (text string, ok bool) {
	if len(c) == 3 && c[0] == shell[0] && c[1] == shell[1] {
		return c[2], true
	}
	return "", false
}

// Dir is where the files of a workspace are in the guest.
func (c Config) Dir(top string) string {
	return cmp.Or(c.Workdir, path.Join("/workspaces", filepath.Base(top)))
}

// Environ returns the variables of commands, as NAME=value: those of the setup if lookup is nil,
// otherwise with those that have the host's values, as os.LookupEnv finds them. One that the host
// does not have is left out.
func (c Config) Environ(lookup func(name string) (string, bool)) []string {
	var all []string
	for name, value := range c.Env {
		all = append(all, name+"="+value)
	}
	for _, name := range c.HostEnv {
		if lookup == nil {
			break
		}
		if value, set := lookup(name); set {
			all = append(all, name+"="+value)
		}
	}
	slices.Sort(all)
	return all
}

// Request fills in what a request for a new VM leaves out.
func (c Config) Request(req api.CreateVM) api.CreateVM {
	fill(&req.Image, c.Image)
	fill(&req.VCPUs, c.VCPUs)
	fill(&req.MemoryBytes, c.MemoryBytes)
	fill(&req.DiskBytes, c.DiskBytes)
	fill(&req.Network, c.Network)
	fill(&req.Init, c.Init)
	fill(&req.Tools, c.Tools)
	if len(req.Publish) == 0 {
		req.Publish = c.Ports
	}
	return req
}

func fill[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}
