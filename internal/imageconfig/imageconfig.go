// Package imageconfig applies an image's configuration to the commands of a VM that was
// made from it.
package imageconfig

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"banger/api"
)

// maxSize bounds the configuration that a VM takes from its image, in bytes: it is sent
// with every stream. Real configurations have a few kilobytes.
const maxSize = 64 << 10

// ForVM returns the part of an image's configuration that a VM stores, so that it does
// not change with the image: everything except the labels. An invalid configuration is
// refused. nil is an image without a configuration.
func ForVM(image string, c *api.ImageConfig) (*api.ImageConfig, error) {
	if c == nil {
		return nil, nil
	}
	c = usable(c)
	if err := check(c); err != nil {
		return nil, api.Errorf(api.KindInvalid, "cannot use image %s: its configuration %w", image, err).
			WithHint("the image's author has to build it again")
	}
	kept := *c
	kept.Labels = nil
	return &kept, nil
}

// usable returns a configuration as container engines interpret it, which some builders
// rely on: a relative WorkingDir starts at the root, and an Env entry that is not
// NAME=value sets no variable.
func usable(c *api.ImageConfig) *api.ImageConfig {
	u := *c
	if u.WorkingDir != "" {
		u.WorkingDir = path.Join("/", u.WorkingDir)
	}
	u.Env = slices.DeleteFunc(slices.Clone(u.Env), func(v string) bool { return strings.Index(v, "=") < 1 })
	return &u
}

func check(c *api.ImageConfig) error {
	words := slices.Concat(c.Env, c.Entrypoint, c.Cmd, c.ExposedPorts, []string{c.User, c.WorkingDir, c.StopSignal})
	size := 0
	for _, word := range words {
		size += len(word) + 8 // as execve(2) counts, with a pointer
		if strings.ContainsRune(word, 0) {
			return fmt.Errorf("has a NUL character in %.60q", word)
		}
	}
	if size > maxSize {
		return fmt.Errorf("takes %d KiB: at most %d are possible", size>>10, maxSize>>10)
	}
	for _, v := range c.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return fmt.Errorf("sets %.60q in Env, which is not NAME=value", v)
		}
	}
	if c.WorkingDir != "" && !path.IsAbs(c.WorkingDir) {
		return fmt.Errorf("has the WorkingDir %.60q, which must be an absolute path", c.WorkingDir)
	}
	if _, err := signal(c.StopSignal); err != nil {
		return fmt.Errorf("has the StopSignal %w", err)
	}
	return nil
}

// Complete adds the image's settings to a command; the command's own settings take
// precedence.
func Complete(c *api.ImageConfig, e api.Exec) api.Exec {
	if c == nil {
		return e
	}
	e.Env = slices.Concat(c.Env, e.Env) // of two with the same name the last counts
	e.User = cmp.Or(e.User, c.User)
	if e.Dir == "" && c.WorkingDir != "" {
		e.Dir, e.MakeDir = c.WorkingDir, true
	}
	return e
}

// Background returns the command that runs in a VM without a client, and whether there
// is one.
func Background(c *api.ImageConfig, b *api.Background) (api.Exec, bool) {
	if b == nil {
		return api.Exec{}, false
	}
	e := Command(c, b.Entrypoint, api.Exec{Argv: b.Argv, Env: b.Env, Dir: b.Dir, User: b.User, Main: true})
	e.StopSignal = stopSignal(c) // also if it is not the image's program
	return Complete(c, e), len(e.Argv) > 0
}

// stopSignal returns the signal that asks a command without a terminal to end.
func stopSignal(c *api.ImageConfig) int {
	if c != nil && c.StopSignal != "" {
		if n, err := signal(c.StopSignal); err == nil {
			return n
		}
	}
	return sigterm
}

// CheckBackground refuses a command that a VM cannot store or run.
func CheckBackground(b *api.Background) error {
	if b == nil {
		return nil
	}
	if err := check(&api.ImageConfig{Env: b.Env, Cmd: b.Argv, WorkingDir: b.Dir, User: b.User}); err != nil {
		return api.Errorf(api.KindInvalid, "cannot run a command in the background: it %w", err)
	}
	return nil
}

// Command completes e, which has the arguments of a `vm run`: the arguments replace the
// image's Cmd, and a given entrypoint replaces Entrypoint and Cmd. If that leaves
// nothing, e stays a shell.
func Command(c *api.ImageConfig, entrypoint *string, e api.Exec) api.Exec {
	if c == nil {
		c = &api.ImageConfig{}
	}
	first, rest := c.Entrypoint, c.Cmd
	if entrypoint != nil {
		first, rest = nil, nil
		if *entrypoint != "" {
			first = []string{*entrypoint}
		}
	}
	images := len(first) > 0 || len(e.Argv) == 0
	if len(e.Argv) > 0 {
		rest = e.Argv
	}
	e.Argv = slices.Concat(first, rest)
	if len(e.Argv) == 0 || !images {
		return e
	}
	if e.Dir == "" && c.WorkingDir == "" && entrypoint == nil {
		e.Dir = "/" // as in a container
	}
	if c.StopSignal != "" || !e.TTY { // a terminal sends SIGHUP, which shells expect
		e.StopSignal = stopSignal(c)
	}
	return e
}
