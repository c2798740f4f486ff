package oci

import (
	"archive/tar"
	"encoding/json"
	"io"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"banger/api"
)

// Single is an image of one uncompressed layer that is to be written.
type Single struct {
	Name      string // the full reference, such as docker.io/library/alpine:3.20; may be empty
	Familiar  string // the reference in its short form
	Arch      string // as in GOARCH
	CreatedAt time.Time
	Config    api.ImageConfig
	RawConfig []byte // the image's original configuration; may be empty
	History   []api.ImageHistory

	Digest string // of the layer; also its diff id
	Size   int64  // of the layer
	Write  func(w io.Writer) error
}

// exportStep is the layer's step in the history.
const exportStep = "banger image export"

// config returns the image's configuration in the format of ParseConfig: the original
// one with all its fields, except for those that describe layers.
func (s Single) config() ([]byte, error) {
	id, err := v1.NewHash(s.Digest)
	if err != nil {
		return nil, err
	}
	file := map[string]any{}
	if len(s.RawConfig) > 0 {
		raw := map[string]json.RawMessage{}
		if err := json.Unmarshal(s.RawConfig, &raw); err != nil {
			return nil, api.Errorf(api.KindInternal, "cannot read the image's original configuration: %w", err)
		}
		for key, value := range raw {
			file[key] = value
		}
		// These fields are from Docker before there were digests.
		delete(file, "id")
		delete(file, "parent")
	} else {
		file["config"] = s.plainConfig()
	}
	var created lenientTime
	if raw, ok := file["created"].(json.RawMessage); !ok || json.Unmarshal(raw, &created) != nil || created.IsZero() {
		file["created"] = s.CreatedAt
	}
	file["architecture"], file["os"] = s.Arch, guestOS
	file["rootfs"] = v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{id}}
	// The single layer belongs to the last step: the other steps have none.
	steps := s.History
	if n := len(steps); n > 0 && steps[n-1].CreatedBy == exportStep {
		steps = steps[:n-1]
	}
	var history []v1.History
	for _, h := range steps {
		step := v1.History{CreatedBy: h.CreatedBy, Comment: h.Comment, EmptyLayer: true}
		if h.CreatedAt != nil {
			step.Created.Time = *h.CreatedAt
		}
		history = append(history, step)
	}
	file["history"] = append(history, v1.History{Created: v1.Time{Time: s.CreatedAt}, CreatedBy: exportStep, Comment: "all layers as one"})
	return json.Marshal(file)
}

// plainConfig returns the configuration of an image that came without one, or was
// imported by an older banger, which did not store all of it.
func (s Single) plainConfig() v1.Config {
	c := s.Config
	plain := v1.Config{
		Env: c.Env, User: c.User, WorkingDir: c.WorkingDir, Entrypoint: c.Entrypoint, Cmd: c.Cmd, StopSignal: c.StopSignal, Labels: c.Labels,
	}
	for _, port := range c.ExposedPorts {
		if plain.ExposedPorts == nil {
			plain.ExposedPorts = map[string]struct{}{}
		}
		plain.ExposedPorts[port] = struct{}{}
	}
	return plain
}

// Layout returns an archive of an OCI layout
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md).
func (s Single) Layout() (Archive, error) {
	config, err := s.config()
	if err != nil {
		return Archive{}, err
	}
	layer, err := v1.NewHash(s.Digest)
	if err != nil {
		return Archive{}, err
	}
	manifest, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: descriptor(types.OCIConfigJSON, config),
		Layers: []v1.Descriptor{{MediaType: types.OCIUncompressedLayer, Size: s.Size, Digest: layer}},
	})
	if err != nil {
		return Archive{}, err
	}
	d := descriptor(types.OCIManifestSchema1, manifest)
	d.Platform = &v1.Platform{OS: guestOS, Architecture: s.Arch}
	if s.Name != "" { // the full name, and the tag alone, as in BuildKit
		d.Annotations = map[string]string{"io.containerd.image.name": s.Name}
		if tag := tagOf(s.Name); tag != "" {
			d.Annotations["org.opencontainers.image.ref.name"] = tag
		}
	}
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{d}})
	if err != nil {
		return Archive{}, err
	}
	return Archive{
		document("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)),
		document(layoutIndex, index),
		document(blobName(d), manifest),
		document(blobName(descriptor(types.OCIConfigJSON, config)), config),
		{name: blobName(v1.Descriptor{Digest: layer}), size: s.Size, write: s.Write},
	}, nil
}

// Saved returns an archive as `docker save` writes it and `docker load` reads it.
func (s Single) Saved() (Archive, error) {
	config, err := s.config()
	if err != nil {
		return Archive{}, err
	}
	file := saved{Config: hexOf(Digest(config)) + ".json", Layers: []string{hexOf(s.Digest) + ".tar"}}
	if tagOf(s.Name) != "" {
		file.RepoTags = []string{s.Familiar}
	}
	manifest, err := json.Marshal([]saved{file})
	if err != nil {
		return Archive{}, err
	}
	return Archive{
		document(savedManifest, manifest),
		document(file.Config, config),
		{name: file.Layers[0], size: s.Size, write: s.Write},
	}, nil
}

func descriptor(kind types.MediaType, data []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: kind, Size: int64(len(data)), Digest: v1.Hash{Algorithm: "sha256", Hex: hexOf(Digest(data))}}
}

func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

// tagOf returns the tag of a full reference, or "" if it names a digest.
func tagOf(reference string) string {
	_, tag, _ := strings.Cut(path.Base(reference), ":")
	if strings.Contains(reference, "@") {
		return ""
	}
	return tag
}

// Archive is a tar archive to be written. It can be written several times with the same
// result.
type Archive []archiveFile

type archiveFile struct {
	name  string
	size  int64
	write func(io.Writer) error
}

func document(name string, data []byte) archiveFile {
	return archiveFile{name, int64(len(data)), func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}}
}

func (f archiveFile) header() *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: f.size, Mode: 0o644, ModTime: time.Unix(0, 0)}
}

// Size returns how many bytes Write writes.
func (a Archive) Size() (int64, error) {
	const block = 512 // the block size of tar; two blocks of zeros end an archive
	n := int64(2 * block)
	for _, f := range a {
		var head countWriter
		if err := tar.NewWriter(&head).WriteHeader(f.header()); err != nil {
			return 0, err
		}
		n += int64(head) + (f.size+block-1)/block*block
	}
	return n, nil
}

// Write writes the archive.
func (a Archive) Write(w io.Writer) error {
	archive := tar.NewWriter(w)
	for _, f := range a {
		if err := archive.WriteHeader(f.header()); err != nil {
			return err
		}
		if err := f.write(archive); err != nil {
			return err
		}
	}
	return archive.Close()
}

// countWriter counts bytes.
type countWriter int64

func (c *countWriter) Write(p []byte) (int, error) {
	*c += countWriter(len(p))
	return len(p), nil
}
