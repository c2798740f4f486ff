package oci

import (
	"bytes"
	"context"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"banger/api"
)

// Opener opens the blob of a descriptor.
type Opener func(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)

// Assemble makes an Image from its manifest and configuration, and refuses it if they
// do not belong together.
func Assemble(manifest, config []byte, open Opener) (Image, error) {
	m, err := ParseManifest(manifest)
	if err != nil {
		return Image{}, err
	}
	if got := Digest(config); got != m.Config.Digest.String() || int64(len(config)) != m.Config.Size {
		return Image{}, api.Errorf(api.KindInvalid, "the image's configuration does not match its manifest, %s of %d bytes: it is %s of %d bytes",
			m.Config.Digest, m.Config.Size, got, len(config))
	}
	i, err := ParseConfig(config)
	if err != nil {
		return Image{}, err
	}
	if len(m.Layers) != len(i.Layers) {
		return Image{}, api.Errorf(api.KindInvalid, "cannot use the image: its manifest has %d layers, its configuration %d", len(m.Layers), len(i.Layers))
	}
	i.ManifestDigest = Digest(manifest)
	for n, d := range m.Layers {
		i.Layers[n] = Layer{
			Digest: d.Digest.String(), DiffID: i.Layers[n].DiffID, Size: d.Size, MediaType: string(d.MediaType),
			Open: func(ctx context.Context) (io.ReadCloser, error) { return open(ctx, d) },
		}
	}
	return i, nil
}

// ParseManifest parses the manifest of an image that can be used here.
func ParseManifest(raw []byte) (*v1.Manifest, error) {
	m, err := ParseAnyManifest(raw)
	if err != nil {
		return nil, err
	}
	return m, checkTypes(m)
}

// ParseAnyManifest parses the manifest of an image, or of an artifact of another kind.
func ParseAnyManifest(raw []byte) (*v1.Manifest, error) {
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, api.Errorf(api.KindInvalid, "cannot read the image's manifest: %w", err)
	}
	if len(m.Layers) > MaxLayers {
		return nil, api.Errorf(api.KindInvalid, "cannot use the image: it has more than %d layers", MaxLayers)
	}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		switch {
		case !IsDigest(d.Digest.String()):
			return nil, api.Errorf(api.KindInvalid, "cannot use the image: %.80q is not a SHA-256 digest", d.Digest)
		case d.Size < 0:
			return nil, api.Errorf(api.KindInvalid, "cannot use the image: its manifest lists %s with a size of %d", d.Digest, d.Size)
		case strings.HasSuffix(string(d.MediaType), "+encrypted"):
			return nil, api.Errorf(api.KindUnsupported, "cannot use the image: %s is encrypted", d.Digest)
		}
	}
	return m, nil
}

// Check refuses an image whose layers do not match its configuration.
func (i Image) Check() error {
	said, err := ParseConfig(i.RawConfig)
	if err != nil {
		return err
	}
	if len(said.Layers) != len(i.Layers) {
		return api.Errorf(api.KindInvalid, "cannot use the image: it has %d layers, its configuration lists %d", len(i.Layers), len(said.Layers))
	}
	for n, l := range i.Layers {
		if l.DiffID != said.Layers[n].DiffID {
			return api.Errorf(api.KindInvalid, "cannot use the image: the diff id of layer %d does not match its configuration", n+1)
		}
	}
	return nil
}
