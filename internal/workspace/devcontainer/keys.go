package devcontainer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"banger/internal/config"
	"banger/internal/guest/forward"
	"banger/internal/workspace/project"
)

// key is a key that is applied. An error says what of its value is not.
type key struct {
	apply func(r *reader, v any) error
	doc   string
}

func applied() map[string]key {
	const setup = "is part of `setup`. A text runs by `sh -c`, and an object's commands one after the other, as the user"
	return map[string]key{
		"image":                       {(*reader).image, "is `image`"},
		"build":                       {(*reader).build, "`dockerfile`, `context` (relative to this file), `args` and `target`: [the image is built in a VM](workspace.md#with-a-dockerfile)"},
		"dockerFile":                  {(*reader).dockerFile, "is `build.dockerfile`"},
		"context":                     {(*reader).context, "is `build.context`, beside `dockerFile`"},
		"workspaceFolder":             {(*reader).folder, "is `workdir`"},
		"remoteUser":                  {(*reader).remoteUser, "is `user`"},
		"containerUser":               {(*reader).containerUser, "is `user` if there is no `remoteUser`"},
		"containerEnv":                {(*reader).env, "is `env`; `\"NAME\": \"${localEnv:NAME}\"` is `host_env`, which has to be confirmed"},
		"remoteEnv":                   {(*reader).env, "adds to `containerEnv`"},
		"forwardPorts":                {(*reader).ports, "is `ports`, on the loopback address. Below 1024 the host's port is a free one"},
		"appPort":                     {(*reader).ports, "adds to `forwardPorts`"},
		"features":                    {nil, "are installed before the setup: OCI artifacts (`ghcr.io/devcontainers/features/go:1`) and directories of `.devcontainer` (`./mine`), with their options and what they depend on"},
		"overrideFeatureInstallOrder": {(*reader).override, "which features are installed first, as far as what they depend on allows"},
		"hostRequirements":            {(*reader).requirements, "`cpus`, `memory` and `storage` are `vcpus`, `memory` and `disk`"},
		"onCreateCommand":             {hook(func(h *Hooks) *[]project.Command { return &h.OnCreate }), setup},
		"updateContentCommand":        {hook(func(h *Hooks) *[]project.Command { return &h.UpdateContent }), setup},
		"postCreateCommand":           {hook(func(h *Hooks) *[]project.Command { return &h.PostCreate }), setup},
		"postStartCommand":            {hook(func(h *Hooks) *[]project.Command { return &h.PostStart }), "runs after each start"},
	}
}

func (r *reader) folder(v any) error {
	text, err := r.text(v)
	if err == nil {
		text, err = project.ParseWorkdir(text)
	}
	if err == nil {
		r.result.Config.Workdir = text
	}
	return err
}

func (r *reader) remoteUser(v any) error {
	text, ok := v.(string)
	if !ok {
		return wrongType("a text")
	}
	user, err := config.GuestOwner(text)
	if err == nil {
		r.result.Config.User = user
	}
	return err
}

// containerUser counts if there is no remoteUser, which is who works in the container.
func (r *reader) containerUser(v any) error {
	if text, ok := v.(string); ok {
		if user, err := config.GuestOwner(text); err == nil {
			r.result.ContainerUser = user
		}
	}
	if r.hasRemoteUser {
		return errors.New("remoteUser counts")
	}
	return r.remoteUser(v)
}

// variable matches what the specification replaces in texts; ${HOME} is for a shell.
var variable = regexp.MustCompile(`\$\{(localEnv|env|containerEnv|localWorkspaceFolder|containerWorkspaceFolder|devcontainerId)[^}]*\}`)

// text takes a text, and replaces the variables that have a meaning for a VM.
func (r *reader) text(v any) (string, error) {
	text, ok := v.(string)
	if !ok {
		return "", wrongType("a text")
	}
	var err error
	text = variable.ReplaceAllStringFunc(text, func(all string) string {
		folder := r.result.Config.Dir(r.top)
		switch all {
		case "${containerWorkspaceFolder}":
			return folder
		case "${containerWorkspaceFolderBasename}":
			return path.Base(folder)
		case "${localWorkspaceFolderBasename}":
			return filepath.Base(r.top)
		}
		err = fmt.Errorf("%.60q is not replaced", all)
		return all
	})
	return text, err
}

// localEnv is a variable that has the host's value: it has to be confirmed, as host_env is.
var localEnv = regexp.MustCompile(`^\$\{(?:localEnv|env):([A-Za-z_][A-Za-z0-9_]*)\}$`)

func (r *reader) env(v any) error {
	table, ok := v.(map[string]any)
	if !ok {
		return wrongType("an object")
	}
	c, problems := &r.result.Config, []error(nil)
	for _, name := range slices.Sorted(maps.Keys(table)) {
		text, _ := table[name].(string)
		if m := localEnv.FindStringSubmatch(text); m != nil && m[1] == name {
			delete(c.Env, name)
			c.HostEnv = append(slices.DeleteFunc(c.HostEnv, func(other string) bool { return other == name }), name)
			continue
		}
		value, err := r.text(table[name])
		switch {
		case err != nil:
		case project.CheckVariable(name) != nil:
			err = project.CheckVariable(name)
		case strings.ContainsRune(value, 0):
			err = errors.New("a variable cannot have a NUL character")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%.40q: %w", name, err))
			continue
		}
		if c.Env == nil {
			c.Env = map[string]string{}
		}
		c.Env[name] = value
		c.HostEnv = slices.DeleteFunc(c.HostEnv, func(other string) bool { return other == name })
	}
	return errors.Join(problems...)
}

// ports publishes ports on the loopback. A port that only root may listen on becomes a free one.
func (r *reader) ports(v any) error {
	items, ok := v.([]any)
	if !ok {
		items = []any{v} // appPort
	}
	var problems []error
	for _, item := range items {
		text := fmt.Sprint(item)
		if n, err := strconv.ParseUint(text, 10, 16); err == nil {
			text = fmt.Sprintf("%d:%d", n, n)
			if n < 1024 {
				text = fmt.Sprintf("0:%d", n)
			}
		} else if host, port, found := strings.Cut(text, ":"); found && strings.Trim(host, "0123456789") != "" && !strings.Contains(port, ":") {
			problems = append(problems, fmt.Errorf("%.60q is a port of another container", text))
			continue
		}
		p, err := forward.ParsePublished(text)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if c := &r.result.Config; !slices.Contains(c.Ports, p) {
			c.Ports = append(c.Ports, p)
		}
	}
	return errors.Join(problems...)
}

// amounts matches sizes of hostRequirements.
var amounts = regexp.MustCompile(`^([0-9]{1,9})([tgmk])b$`)

func (r *reader) requirements(v any) error {
	table, ok := v.(map[string]any)
	if !ok {
		return wrongType("an object")
	}
	c, problems := &r.result.Config, []error(nil)
	for _, name := range slices.Sorted(maps.Keys(table)) {
		var err error
		switch name {
		case "cpus":
			n, ok := table[name].(json.Number)
			var count int64
			if count, err = n.Int64(); !ok || err != nil {
				err = fmt.Errorf("%.40q is not a number of processors", fmt.Sprint(table[name]))
			} else if at := int(max(0, min(count, config.MaxVCPUs+1))); config.CheckVCPUs(at) != nil {
				err = config.CheckVCPUs(at)
			} else {
				c.VCPUs = at
			}
		case "memory":
			err = amount(table[name], config.ParseMemory, &c.MemoryBytes)
		case "storage":
			err = amount(table[name], config.ParseDisk, &c.DiskBytes)
		default:
			err = errors.New("a VM does not have it")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%.40q: %w", name, err))
		}
	}
	return errors.Join(problems...)
}

// amount takes a size such as 8gb. It counts in powers of 1024, like all sizes of VMs.
func amount(v any, parse func(string) (int64, error), to *int64) error {
	text, _ := v.(string)
	m := amounts.FindStringSubmatch(strings.ToLower(text))
	if m == nil {
		return fmt.Errorf("%.40q is not a size such as 8gb", fmt.Sprint(v))
	}
	n, err := parse(m[1] + m[2])
	if err == nil {
		*to = n
	}
	return err
}

// commands takes a text for a shell, a list that is a program with its arguments, or an object of
// such, which here run one after the other.
func (r *reader) commands(v any, to *[]project.Command) error {
	table, several := v.(map[string]any)
	if !several {
		c, err := r.command(v)
		if err == nil {
			*to = append(*to, c)
		}
		return err
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(table)) {
		c, err := r.command(table[name])
		if err != nil {
			problems = append(problems, fmt.Errorf("%.40q: %w", name, err))
			continue
		}
		*to = append(*to, c)
	}
	return errors.Join(problems...)
}

func (r *reader) command(v any) (project.Command, error) {
	items, ok := v.([]any)
	if !ok {
		text, err := r.text(v)
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(text) == "" {
			return nil, errors.New("the command is empty")
		}
		items = []any{"/bin/sh", "-c", text}
	}
	argv := make([]any, len(items))
	for i, item := range items {
		text, err := r.text(item)
		if err != nil {
			return nil, err
		}
		argv[i] = text
	}
	c, err := project.ParseCommand(argv)
	if err != nil {
		return nil, err
	}
	return asUser(r.result.Config.User, c)
}

// asUser returns a command that runs as a user of the guest: a setup runs as root. su takes names
// alone (su(1)); its arguments after the user are those of the shell.
func asUser(user string, c project.Command) (project.Command, error) {
	name, _, group := strings.Cut(user, ":")
	switch {
	case user == "" || name == "root" || name == "0":
		return c, nil
	case group || strings.Trim(name, "0123456789") == "":
		return nil, fmt.Errorf("it cannot run as %.60q: a user by name alone is possible", user)
	}
	return append(project.Command{"su", "-s", "/bin/sh", "-c", `exec "$0" "$@"`, "--", name}, c...), nil
}
