package registrytest

import (
	"encoding/json"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"banger/internal/image/oci"
)

// Artifact is one file, and not an image.
type Artifact struct {
	Config, Layer string // media types
	Data          []byte
}

// PushArtifact stores an artifact under a name and tag, and returns the digest of its manifest.
func (r *Registry) PushArtifact(nameTag string, a Artifact) (string, error) {
	repository, tag, _ := strings.Cut(nameTag, ":")
	descriptor := func(kind string, data []byte) (v1.Descriptor, error) {
		digest, err := r.PutBlob(repository, data)
		if err != nil {
			return v1.Descriptor{}, err
		}
		hash, err := v1.NewHash(digest)
		return v1.Descriptor{MediaType: types.MediaType(kind), Digest: hash, Size: int64(len(data))}, err
	}
	config, err := descriptor(a.Config, []byte("{}"))
	if err != nil {
		return "", err
	}
	layer, err := descriptor(a.Layer, a.Data)
	if err != nil {
		return "", err
	}
	raw, err := json.Marshal(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config, Layers: []v1.Descriptor{layer}})
	if err != nil {
		return "", err
	}
	return oci.Digest(raw), r.PutManifest(repository, tag, string(types.OCIManifestSchema1), raw)
}
