package devcontainer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"banger/internal/config"
	"banger/internal/workspace/jsonc"
	"banger/internal/workspace/project"
)

// Build is a Dockerfile that the image is built of. Its paths are below the workspace, with slashes.
type Build struct {
	Dockerfile string
	Context    string            // a directory; "." is the workspace
	Args       map[string]string // build arguments
	Target     string            // the stage to build; empty: the last one
}

// maxArg bounds a build argument and a target, in bytes.
const maxArg = 32 << 10

// building collects the keys of a build.
type building struct {
	Build
	wanted  bool // there is a Dockerfile, which counts more than an image
	legacy  bool // dockerFile and context are keys of the file, and not of build
	refused error
}

// look finds out whether there is a Dockerfile before any key is applied.
func (b *building) look(all []jsonc.Member) {
	for _, m := range all {
		var build struct{ Dockerfile any }
		switch m.Key {
		case "dockerFile":
			b.wanted, b.legacy = true, true
		case "build":
			if json.Unmarshal(m.Value, &build) == nil && build.Dockerfile != nil {
				b.wanted = true
			}
		}
	}
}

func (r *reader) image(v any) error {
	if r.building.wanted {
		return errors.New("the Dockerfile counts")
	}
	text, err := r.text(v)
	if err == nil {
		text, err = config.ParseImage(text)
	}
	if err == nil {
		r.result.Config.Image = text
	}
	return err
}

// build applies the key build.
func (r *reader) build(v any) error {
	table, ok := v.(map[string]any)
	if !ok {
		return wrongType("an object")
	}
	if !r.building.wanted {
		return errors.New("it names no dockerfile: the image is built of nothing else")
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(table)) {
		for _, err := range flat(r.buildKey(name, table[name])) {
			problems = append(problems, fmt.Errorf("%.40q: %w", name, err))
		}
	}
	return errors.Join(problems...)
}

func (r *reader) buildKey(name string, v any) error {
	b := &r.building
	switch name {
	case "dockerfile", "context":
		if b.legacy {
			return errors.New("dockerFile and context beside build count")
		}
		if name == "context" {
			return r.buildPath("build.context", v, &b.Context)
		}
		return r.buildPath("build.dockerfile", v, &b.Dockerfile)
	case "args":
		return r.buildArgs(v)
	case "target":
		text, err := r.argument(v)
		b.Target = text
		return err
	case "cacheFrom":
		return errors.New("an image is built without the layers of others; it is built once for each content")
	case "options":
		return errors.New("they are arguments of docker build")
	}
	return errors.New("banger does not know it")
}

func (r *reader) dockerFile(v any) error {
	return r.buildPath("dockerFile", v, &r.building.Dockerfile)
}

// context is the key beside dockerFile.
func (r *reader) context(v any) error {
	if !r.building.legacy {
		return errors.New("it counts beside dockerFile alone: build has a context of its own")
	}
	return r.buildPath("context", v, &r.building.Context)
}

// buildPath takes a path that is relative to the file. One that leads out of the workspace is refused,
// and not only left out: without its Dockerfile the VM would be another one, and with it files that the
// workspace does not have would get into the guest.
func (r *reader) buildPath(key string, v any, to *string) error {
	text, err := r.text(v)
	clean := path.Join(r.from, text)
	switch {
	case err != nil:
	case text == "":
		err = errors.New("the path is empty")
	case path.IsAbs(text) || !filepath.IsLocal(clean) || strings.ContainsRune(text, 0):
		err = fmt.Errorf("%.200q leads out of the workspace", text)
	}
	if err != nil {
		r.building.refused = errors.Join(r.building.refused, fmt.Errorf("%s: %w", key, err))
		return nil
	}
	*to = clean
	return nil
}

func (r *reader) buildArgs(v any) error {
	table, ok := v.(map[string]any)
	if !ok {
		return wrongType("an object")
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(table)) {
		text, err := r.argument(table[name])
		if err == nil {
			err = project.CheckVariable(name)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%.40q: %w", name, err))
			continue
		}
		if r.building.Args == nil {
			r.building.Args = map[string]string{}
		}
		r.building.Args[name] = text
	}
	return errors.Join(problems...)
}

// argument takes a text for a build, or a number or boolean, which is its text.
func (r *reader) argument(v any) (string, error) {
	switch value := v.(type) {
	case json.Number:
		v = value.String()
	case bool:
		v = strconv.FormatBool(value)
	}
	text, err := r.text(v)
	switch {
	case err != nil:
		return "", err
	case strings.ContainsRune(text, 0):
		return "", errors.New("it has a NUL character")
	case len(text) > maxArg:
		return "", fmt.Errorf("it has more than %d bytes", maxArg)
	}
	return text, nil
}

// built returns what is to be built; nil: nothing.
func (b building) built() (*Build, error) {
	if b.refused != nil || !b.wanted {
		return nil, b.refused
	}
	build := b.Build
	if build.Context == "" {
		build.Context = path.Dir(build.Dockerfile)
	}
	return &build, nil
}
