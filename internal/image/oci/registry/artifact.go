package registry

import (
	"context"
	"io"

	"banger/api"
	"banger/internal/image/oci"
	"banger/internal/image/oci/blobs"
)

// Artifact says which artifacts FindArtifact accepts: one file, and not an image.
type Artifact struct {
	Kind  string // what it is called in errors: "dev container feature"
	Layer string // the media type of its file
	Most  int64  // bytes that the file may have
}

// FoundArtifact is the artifact that a reference names. The caller must close it.
type FoundArtifact struct {
	Manifest string // the digest of its manifest, which identifies it
	// Note is a message for the user: that a mirror could not be used.
	Note string

	client  *Client
	session *session
	layer   blobs.Blob
}

// Close closes the connections.
func (f *FoundArtifact) Close() { f.session.close() }

// FindArtifact resolves a reference as Find does. It does not download the file.
func (c *Client) FindArtifact(ctx context.Context, ref Reference, want Artifact) (*FoundArtifact, error) {
	found, note, err := tryMirror(ctx, c, ref, func(ctx context.Context, ref Reference) (*FoundArtifact, error) {
		return c.findArtifact(ctx, ref, want)
	})
	if err != nil {
		return nil, err
	}
	found.Note = note
	found.session.ref = ref // the requested reference
	return found, nil
}

func (c *Client) findArtifact(ctx context.Context, ref Reference, want Artifact) (*FoundArtifact, error) {
	s, err := c.connect(ctx, ref)
	if err != nil {
		return nil, explain(ctx, ref, login{}, err)
	}
	f := &FoundArtifact{client: c, session: s}
	id := ref.ref.Identifier()
	raw, _, err := s.document(ctx, "/manifests/"+id, digestOf(id), -1)
	if err == nil {
		f.Manifest = oci.Digest(raw)
		f.layer, err = artifactLayer(raw, want)
	}
	if err != nil {
		s.close()
		return nil, explain(ctx, ref, s.login, err)
	}
	return f, nil
}

// artifactLayer returns the file of an artifact: its only layer of that media type.
func artifactLayer(manifest []byte, want Artifact) (blobs.Blob, error) {
	m, err := oci.ParseAnyManifest(manifest)
	if err != nil {
		return blobs.Blob{}, err
	}
	var found []blobs.Blob
	for _, d := range m.Layers {
		if string(d.MediaType) == want.Layer {
			found = append(found, blobs.Blob{Digest: d.Digest.String(), Size: d.Size})
		}
	}
	switch {
	case len(found) != 1:
		return blobs.Blob{}, api.Errorf(api.KindUnsupported, "it is not a %s: it has %d files of the type %s, not one", want.Kind, len(found), want.Layer).
			WithHint("give the name of a %s", want.Kind)
	case found[0].Size > want.Most:
		return blobs.Blob{}, api.Errorf(api.KindInvalid, "it is larger than %d MiB", want.Most>>20).
			WithHint("report it to the author of the %s", want.Kind)
	}
	return found[0], nil
}

// Fetch downloads the file, unless it is in the cache, and opens it.
func (f *FoundArtifact) Fetch(ctx context.Context, report api.Report) (file io.ReadCloser, digest string, err error) {
	store := f.client.o.Blobs
	defer store.Hold(f.layer.Digest)()
	err = store.NeedSpace(store.Missing(f.layer))
	if err == nil {
		err = store.Get(ctx, f.layer, f.session.source(f.layer), report)
	}
	if err == nil {
		file, err = store.Open(f.layer.Digest)
	}
	if err != nil {
		return nil, "", explain(ctx, f.session.ref, f.session.login, err)
	}
	return file, f.layer.Digest, nil
}
