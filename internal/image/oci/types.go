package oci

import (
	"encoding/json"
	"mime"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"banger/api"
)

// KindOf returns the media type of a document about images: the one it declares, or the
// one that its fields imply, or the one it was served with. Some registries serve all
// documents as text/plain or application/json, and the media type in a document is
// optional (https://github.com/opencontainers/image-spec/blob/main/manifest.md).
func KindOf(served string, raw []byte) types.MediaType {
	var own struct {
		MediaType types.MediaType `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
		Config    json.RawMessage `json:"config"`
		Layers    json.RawMessage `json:"layers"`
		FSLayers  json.RawMessage `json:"fsLayers"`
	}
	_ = json.Unmarshal(raw, &own) // anything but a JSON object has no fields
	base, _, err := mime.ParseMediaType(served)
	if err != nil {
		base = served
	}
	switch {
	case own.MediaType != "":
		return own.MediaType
	case own.Manifests != nil:
		return types.OCIImageIndex
	case own.Config != nil && own.Layers != nil:
		return types.OCIManifestSchema1
	case own.FSLayers != nil:
		return types.DockerManifestSchema1
	}
	return types.MediaType(base)
}

// readableLayer are the media types of layers that can be unpacked: tar archives of any
// compression, which is detected from the content. Layers that must not be pushed
// elsewhere ("foreign", "nondistributable") are ordinary archives.
var readableLayer = regexp.MustCompile(`^application/(` +
	`vnd\.oci\.image\.layer(\.nondistributable)?\.v1\.tar|` +
	`vnd\.docker\.image\.rootfs(\.foreign)?\.diff\.tar|` +
	`(x-)?tar|x-gtar|vnd\.docker\.container\.image\.rootfs\.diff\+x-gtar` +
	`)([.+-](gzip|gz|zstd|zst|xz|bzip2|lz4))?$`)

// unspecific are media types without information: old versions of Docker and some
// builders use them for configurations and layers.
func unspecific(t types.MediaType) bool {
	base, _, _ := strings.Cut(string(t), ";")
	switch base {
	case "", "application/octet-stream", "application/json", "text/plain", "binary/octet-stream":
		return true
	}
	return false
}

// isImage reports whether a manifest may be that of an image of a file system.
func isImage(m *v1.Manifest) bool {
	t := m.Config.MediaType
	return t.IsConfig() || unspecific(t) && m.ArtifactType == ""
}

// checkTypes refuses a manifest of an artifact that cannot be unpacked here.
func checkTypes(m *v1.Manifest) error {
	if !isImage(m) {
		t := string(m.Config.MediaType)
		if m.ArtifactType != "" {
			t = m.ArtifactType
		}
		return api.Errorf(api.KindUnsupported, "it is not an image of a file system, but %.100q", t).
			WithHint("registries and layouts also contain other artifacts, such as charts and signatures; give the name of an image")
	}
	for _, d := range m.Layers {
		if !readableLayer.MatchString(string(d.MediaType)) && !unspecific(d.MediaType) {
			return api.Errorf(api.KindUnsupported, "a layer of it is %.100q, which cannot be unpacked", d.MediaType).
				WithHint("use an image for Linux, with layers that are tar archives")
		}
	}
	return nil
}
