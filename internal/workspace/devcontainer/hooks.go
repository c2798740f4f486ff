package devcontainer

import (
	"slices"

	"banger/internal/workspace/project"
)

// Hooks are the commands of a dev container, by when they run: the first three once, in this order,
// the last after each start of the VM, the first included.
type Hooks struct {
	OnCreate      []project.Command `json:",omitempty"`
	UpdateContent []project.Command `json:",omitempty"`
	PostCreate    []project.Command `json:",omitempty"`
	PostStart     []project.Command `json:",omitempty"`
}

// Once are the commands that run once.
func (h Hooks) Once() []project.Command {
	return slices.Concat(h.OnCreate, h.UpdateContent, h.PostCreate)
}

// Then returns hooks with those of others after them, each in its place.
func (h Hooks) Then(after Hooks) Hooks {
	return Hooks{
		OnCreate:      slices.Concat(h.OnCreate, after.OnCreate),
		UpdateContent: slices.Concat(h.UpdateContent, after.UpdateContent),
		PostCreate:    slices.Concat(h.PostCreate, after.PostCreate),
		PostStart:     slices.Concat(h.PostStart, after.PostStart),
	}
}

// hook applies a key with commands.
func hook(of func(*Hooks) *[]project.Command) func(*reader, any) error {
	return func(r *reader, v any) error { return r.commands(v, of(&r.result.Hooks)) }
}
