// Package devcontainer reads devcontainer.json, the description of a dev container
// (containers.dev/implementors/json_reference), as far as a VM can be like it. What it does not
// apply, it lists: nothing is passed over in silence.
package devcontainer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"banger/api"
	"banger/internal/size"
	"banger/internal/workspace/feature"
	"banger/internal/workspace/jsonc"
	"banger/internal/workspace/project"
)

// maxFile bounds a devcontainer.json in bytes.
const maxFile = 256 * size.KiB

// places are where the file may be, in the order of the specification.
var places = []string{".devcontainer/devcontainer.json", ".devcontainer.json"}

// Result is what a devcontainer.json says.
type Result struct {
	File string // below the workspace
	// Config is what a banger.toml would say. Its setup are the hooks that run once.
	Config project.Config
	Hooks  Hooks
	// Build is what the image is built of; nil: it is Config.Image.
	Build *Build
	// ContainerUser is who the container runs as, which features ask for; empty: the image's user.
	ContainerUser string
	// Features are to be installed before the setup; Override is the order that the user wants.
	Features []feature.Request
	Override []feature.ID
	// NotApplied are the keys that the VM is not like, in the order of the file.
	NotApplied []Skipped
}

// Skipped is a key, or a part of one, that is not applied.
type Skipped struct {
	Key  string
	Line int
	Why  string
}

// Load reads the devcontainer.json of a workspace, and reports whether there is one.
func Load(top string) (r Result, found bool, err error) {
	for _, name := range places {
		data, err := project.ReadFile(top, name, maxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Result{}, true, api.Errorf(api.KindInvalid, "cannot read %s: %w", filepath.Join(top, name), err)
		}
		r, err := Parse(top, name, data)
		return r, true, err
	}
	return Result{}, false, several(top)
}

// several refuses a workspace whose dev containers are in directories of their own: the
// specification leaves the choice to the user.
func several(top string) error {
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil // there is no dev container
	}
	defer root.Close()
	found, err := fs.Glob(root.FS(), ".devcontainer/*/devcontainer.json")
	if err != nil || len(found) == 0 {
		return nil
	}
	return api.Errorf(api.KindUnsupported, "cannot choose a dev container of %s: it has %d, each in a directory of its own", top, len(found)).
		WithHint("copy one of them to %s", places[1])
}

// Parse reads the text of a devcontainer.json. top is the workspace, name the file's below it.
func Parse(top, name string, data []byte) (Result, error) {
	fail := func(err error) (Result, error) {
		return Result{}, api.Errorf(api.KindInvalid, "cannot use %s: %w", filepath.Join(top, name), err)
	}
	all, err := jsonc.Members(jsonc.Plain(data))
	if err != nil {
		return fail(err)
	}
	r := &reader{result: Result{File: name}, top: top, from: path.Dir(name)}
	r.read(all)
	if r.result.Build, err = r.building.built(); err != nil {
		return Result{}, api.Errorf(api.KindInvalid, "cannot use %s: %w", filepath.Join(top, name), err).
			WithHint("a %s with image = \"NAME\" counts more than this file", project.Name)
	}
	r.result.Config.Setup = r.result.Hooks.Once()
	var b bytes.Buffer // whatever comes of it is a valid banger.toml
	err = r.result.Config.Write(&b, nil)
	if err == nil {
		_, err = project.Parse("what it says", b.Bytes())
	}
	if err != nil {
		return fail(err)
	}
	return r.result, nil
}

// reader applies keys.
type reader struct {
	result Result
	top    string
	from   string // the directory of the file, below top

	hasRemoteUser bool
	building      building
}

// read applies all keys. The user and the directory come first, as others depend on them.
func (r *reader) read(all []jsonc.Member) {
	r.building.look(all)
	r.hasRemoteUser = slices.ContainsFunc(all, func(m jsonc.Member) bool { return m.Key == "remoteUser" })
	why := make([]error, len(all))
	for _, first := range []bool{true, false} {
		for i, m := range all {
			if dependedOn(m.Key) == first {
				why[i] = r.apply(m, all)
			}
		}
	}
	for i, m := range all {
		for _, err := range flat(why[i]) {
			r.result.NotApplied = append(r.result.NotApplied, Skipped{Key: m.Key, Line: m.Line, Why: err.Error()})
		}
	}
}

func dependedOn(key string) bool {
	return slices.Contains([]string{"remoteUser", "containerUser", "workspaceFolder"}, key)
}

// flat returns the errors that errors.Join joined.
func flat(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// apply applies a key, or says why it does not.
func (r *reader) apply(m jsonc.Member, all []jsonc.Member) error {
	if slices.ContainsFunc(all, func(other jsonc.Member) bool { return other.Key == m.Key && other.Line > m.Line }) {
		return errors.New("the key is there again; the last one counts")
	}
	if why, known := reasons[m.Key]; known {
		if why == "" {
			return nil
		}
		return errors.New(why)
	}
	key, known := applied()[m.Key]
	if !known {
		return errors.New("banger does not know it")
	}
	if m.Key == "features" {
		return r.features(m.Value) // in the order of the file
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(m.Value))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return err
	}
	return key.apply(r, v)
}

// reasons are keys that are not applied, with the reason; "" is a key that asks for nothing.
var reasons = map[string]string{
	"$schema":           "",
	"name":              "",
	"dockerComposeFile": "services of Compose are not started",
	"service":           "services of Compose are not started",
	"runServices":       "services of Compose are not started",
	"mounts":            "a VM has no mounts of the host: [[files]] of banger.toml copies",
	"workspaceMount":    "the workspace is copied into the VM, not mounted",
	"runArgs":           "they are arguments of docker run",
	"initializeCommand": "it would run on this host",
	"postAttachCommand": "nothing runs when a shell is opened",
	"waitFor":           "a shell is opened after the setup",
	"customizations":    "they are settings of editors",
	"extensions":        "they are settings of editors",
	"settings":          "they are settings of editors",
	"privileged":        "a VM has a kernel of its own: nothing is withheld",
	"capAdd":            "a VM has a kernel of its own: nothing is withheld",
	"securityOpt":       "a VM has a kernel of its own: nothing is withheld",
	"init":              "a VM always has an init",
	"overrideCommand":   "the image's command is not run in a workspace's VM",
	"shutdownAction":    "the VM runs until banger down",

	"portsAttributes":      "they are settings of editors",
	"otherPortsAttributes": "they are settings of editors",
	"updateRemoteUserUID":  "the workspace's files are given to the user in the VM",
	"userEnvProbe":         "the image's and the file's variables are used",
	"secrets":              "host_env of banger.toml passes variables of the host",
}

// Documented is a key as the reference page shows it (docs/workspace-keys.md).
type Documented struct{ Key, Doc string }

// Document describes the keys that are applied, and those that are not, with the reason.
func Document() (apply, skip []Documented) {
	keys := applied()
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		apply = append(apply, Documented{key, keys[key].doc})
	}
	for _, key := range slices.Sorted(maps.Keys(reasons)) {
		if reasons[key] != "" {
			skip = append(skip, Documented{key, reasons[key]})
		}
	}
	return apply, skip
}

func wrongType(want string) error { return fmt.Errorf("it is not %s", want) }
