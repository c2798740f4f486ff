package oci

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"banger/api"
)

// The files that identify an image on disk: those of an OCI layout
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md), and of
// `docker save`.
const (
	layoutFile    = "oci-layout"
	layoutIndex   = "index.json"
	savedManifest = "manifest.json"
	savedTags     = "repositories" // only this one by Docker before 1.10
	dirVersion    = "version"      // of skopeo's "dir:"
)

// Documents returns the names of these files: a root without any of them is a root file
// system.
func Documents() []string { return []string{layoutFile, layoutIndex, savedManifest, savedTags} }

// saved is an image in the manifest.json of `docker save`
// (https://github.com/moby/moby/blob/master/image/tarexport/tarexport.go).
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// documents are the contents of these files. A root file system may have files of the
// same names, so only valid documents count.
type documents struct {
	index  []byte  // of an OCI layout
	saved  []saved // of `docker save`
	dir    []byte  // manifest of skopeo's "dir:"
	layout bool    // oci-layout exists
	tags   bool    // repositories exists
}

// Marks reports whether a file of that name and content, in the root of an archive,
// identifies an image.
func Marks(name string, data []byte) bool {
	var d documents
	d.take(name, data)
	return d.index != nil || d.saved != nil || d.dir != nil || d.layout || d.tags
}

// take reads a file, if it is one of these.
func (d *documents) take(name string, data []byte) {
	var object map[string]json.RawMessage
	isObject := json.Unmarshal(data, &object) == nil && object != nil
	has := func(keys ...string) bool {
		return isObject && !slices.ContainsFunc(keys, func(k string) bool { _, ok := object[k]; return !ok })
	}
	switch name {
	case layoutFile:
		d.layout = has("imageLayoutVersion")
	case layoutIndex:
		if has("schemaVersion", "manifests") || KindOf("", data).IsIndex() {
			d.index = data
		}
	case savedManifest:
		var all []saved
		if json.Unmarshal(data, &all) == nil && len(all) > 0 && all[0].Config != "" {
			d.saved = all
		}
		if kind := KindOf("", data); has("schemaVersion") && (kind.IsImage() || kind.IsIndex()) {
			d.dir = data
		}
	case savedTags:
		var tags map[string]map[string]string // repository → tag → id of the topmost layer
		if json.Unmarshal(data, &tags) != nil {
			return
		}
		for _, ids := range tags {
			for _, id := range ids {
				d.tags = d.tags || IsDigest("sha256:"+id)
			}
		}
	}
}

// look reads all documents of files.
func look(files fs.FS) (documents, error) {
	var d documents
	for _, name := range Documents() {
		data, err := read(files, name)
		switch {
		case err == nil:
			d.take(name, data)
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNoDocument):
		default:
			return d, err
		}
	}
	if data, err := read(files, dirVersion); err != nil || !strings.HasPrefix(string(data), "Directory Transport Version") {
		d.dir = nil
	}
	return d, nil
}

// refuseIncomplete refuses an image without the document that describes it.
func (d documents) refuseIncomplete() error {
	switch {
	case d.layout:
		return api.Errorf(api.KindInvalid, "it is an incomplete OCI layout: it has no %s that names images", layoutIndex).
			WithHint("skopeo copy SOURCE oci-archive:FILE   makes a complete one")
	case d.tags:
		return api.Errorf(api.KindUnsupported, "it is an image as Docker before 1.10 saved it: it has no %s", savedManifest).
			WithHint("run docker load and docker save once, with a current Docker")
	}
	return nil
}

// errNoDocument means that a file cannot be a document of an image.
var errNoDocument = errors.New("not a document of an image")

// read reads a document.
func read(files fs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, escapes(files, name, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, api.Errorf(api.KindInvalid, "%.80q is not a regular file%w", name, silent{errNoDocument})
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxDocument+1))
	if err != nil {
		return nil, api.Errorf(api.KindInvalid, "cannot read %.80q: %w", name, err)
	}
	if len(data) > MaxDocument {
		return nil, api.Errorf(api.KindInvalid, "%.80q is larger than %d MiB%w", name, MaxDocument>>20, silent{errNoDocument})
	}
	return data, nil
}

// silent is an error without text, to be found by errors.Is.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }

// escapes says why a file of a directory cannot be opened: a symbolic link that leads
// outside, as some builders create them into their caches, is not followed.
func escapes(files fs.FS, name string, err error) error {
	links, ok := files.(fs.ReadLinkFS)
	if !ok || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for at := name; at != "."; at = path.Dir(at) {
		if target, e := links.ReadLink(at); e == nil {
			return api.Errorf(api.KindInvalid, "%.100s is a symbolic link to %.200q, which leads outside the directory", at, target).
				WithHint("cp -rL DIRECTORY COPY   makes a copy without links; import the copy")
		}
	}
	return err
}

// open opens a file of an image; what names it in errors.
func open(files fs.FS, names []string, what string) (fs.File, error) {
	for _, name := range names {
		f, err := files.Open(path.Clean(name))
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid):
		default:
			return nil, escapes(files, path.Clean(name), err)
		}
	}
	return nil, missing(what)
}

func missing(what string) error {
	return api.Errorf(api.KindInvalid, "the image is incomplete: %.100s is missing", what)
}
