package feature

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"banger/internal/image/oci/registry"
)

// folder is the directory of a workspace in which local features are.
const folder = ".devcontainer"

// ID says where a feature is: in a registry, or in a directory of the workspace.
type ID struct {
	text     string
	local    string // the directory, below the top of the workspace
	ref      registry.Reference
	resource string // registry, namespace and name
	tag      string // "" if there is a digest
}

// String returns the id as it was written.
func (id ID) String() string { return id.text }

// namespace is the resource without the name.
func (id ID) namespace() string { return path.Dir(id.resource) }

func (id ID) name() string { return path.Base(id.resource) }

// localRule is what a local feature's path may consist of: it is shown, and is a path in the guest.
var localRule = regexp.MustCompile(`^[A-Za-z0-9._/ -]{1,200}$`)

// ParseID parses the id of a feature. from is the directory of the file that has it, below the top
// of the workspace: "." or ".devcontainer".
func ParseID(text, from string) (ID, error) {
	switch {
	case strings.Contains(text, "://"):
		return ID{}, errors.New("a feature from a web address is not installed: name it in a registry, or copy it into " + folder)
	case strings.HasPrefix(text, "./"), strings.HasPrefix(text, "../"):
		return parseLocal(text, from)
	case strings.HasPrefix(text, "/"):
		return ID{}, errors.New("a feature of this host is not installed: only those in " + folder)
	}
	return parseRemote(text)
}

// parseLocal refuses what is not below .devcontainer, as the specification does.
func parseLocal(text, from string) (ID, error) {
	dir := path.Join(from, text)
	switch {
	case !strings.HasPrefix(dir, folder+"/"):
		return ID{}, fmt.Errorf("a local feature has to be in a directory of %s", folder)
	case !localRule.MatchString(text):
		return ID{}, errors.New("a path of a local feature consists of letters, digits, spaces and . _ - /")
	}
	return ID{text: text, local: dir}, nil
}

// parseRemote parses REGISTRY/NAMESPACE/NAME, with a version or a digest. Upper case is lower case.
func parseRemote(text string) (ID, error) {
	text = strings.ToLower(text)
	resource, tag := text, "latest"
	if before, _, found := strings.Cut(text, "@"); found {
		resource, tag = before, ""
	} else if colon := strings.LastIndexByte(text, ':'); colon > strings.LastIndexByte(text, '/') {
		resource, tag = text[:colon], text[colon+1:]
	}
	parts := strings.Split(resource, "/")
	if len(parts) < 3 || !strings.ContainsAny(parts[0], ".:") && parts[0] != "localhost" {
		return ID{}, errors.New("it is not REGISTRY/NAMESPACE/NAME, such as ghcr.io/devcontainers/features/go:1")
	}
	ref, err := registry.Parse(text)
	if err != nil {
		return ID{}, errors.New("it is not REGISTRY/NAMESPACE/NAME, NAME:VERSION or NAME@sha256:…")
	}
	return ID{text: text, ref: ref.Retry("banger up"), resource: resource, tag: tag}, nil
}

// is reports whether a feature is the one that an id without a version names.
func (id ID) is(f *Feature) bool { return id.local == f.ID.local && id.resource == f.ID.resource }

// matches reports whether a feature is the one that an id without a version names, under its
// present name or a former one.
func (id ID) matches(f *Feature) bool {
	former := id.local == "" && f.ID.local == "" && id.namespace() == f.ID.namespace() && slices.Contains(f.aliases(), id.name())
	return id.is(f) || former
}
