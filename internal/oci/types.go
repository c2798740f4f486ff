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

// KindOf says what a document about images is: what it says itself; else what it must
// be by its fields; else what it was served as. Some registries serve all of them as
// text/plain or application/json, and a media type in them is optional
// (https://github.com/opencontainers/image-spec/blob/main/manifest.md).
func KindOf(served string, raw []byte) types.MediaType {
	var own struct {
		MediaType types.MediaType `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
		Config    json.RawMessage `json:"config"`
		Layers    json.RawMessage `json:"layers"`
		FSLayers  json.RawMessage `json:"fsLayers"`
	}
	_ = json.Unmarshal(raw, &own) // what is no JSON object has no fields
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

// readableLayer are the media types of layers that can be unpacked: tar archives,
// whatever their compression, which the content tells. Layers that are not to be pushed
// elsewhere ("foreign", "nondistributable") are archives like others.
var readableLayer = regexp.MustCompile(`^application/(` +
	`vnd\.oci\.image\.layer(\.nondistributable)?\.v1\.tar|` +
	`vnd\.docker\.image\.rootfs(\.foreign)?\.diff\.tar|` +
	`(x-)?tar|x-gtar|vnd\.docker\.container\.image\.rootfs\.diff\+x-gtar` +
	`)([.+-](gzip|gz|zstd|zst|xz|bzip2|lz4))?$`)

// unspecific are the media types that say nothing: old versions of Docker and some
// builders give configurations and layers one of them.
func unspecific(t types.MediaType) bool {
	base, _, _ := strings.Cut(string(t), ";")
	switch base {
	case "", "application/octet-stream", "application/json", "text/plain", "binary/octet-stream":
		return true
	}
	return false
}

// isImage says whether a manifest may be one of an image of a file system.
func isImage(m *v1.Manifest) bool {
	t := m.Config.MediaType
	return t.IsConfig() || unspecific(t) && m.ArtifactType == ""
}

// checkTypes refuses a manifest of what cannot be unpacked here.
func checkTypes(m *v1.Manifest) error {
	if !isImage(m) {
		t := string(m.Config.MediaType)
		if m.ArtifactType != "" {
			t = m.ArtifactType
		}
		return api.Errorf(api.KindUnsupported, "it is not an image of a file system, but %.100q", t).
			WithHint("registries and layouts hold other things, too: charts, signatures; give the name of an image")
	}
	for _, d := range m.Layers {
		if !readableLayer.MatchString(string(d.MediaType)) && !unspecific(d.MediaType) {
			return api.Errorf(api.KindUnsupported, "a layer of it is %.100q, which cannot be unpacked", d.MediaType).
				WithHint("give an image for Linux, with layers that are tar archives")
		}
	}
	return nil
}
