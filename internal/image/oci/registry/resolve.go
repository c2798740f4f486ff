package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"banger/api"
	"banger/internal/image/oci"
)

// Found is the image that a reference names, for this machine. The caller must close
// it.
type Found struct {
	Manifest string // the digest of its manifest, which identifies the image
	// Note is a message for the user: that a mirror could not be used.
	Note string

	client   *Client
	session  *session
	raw      []byte // the manifest
	manifest *v1.Manifest
}

// Close closes the connections.
func (f *Found) Close() { f.session.close() }

// accepted are the manifests that can be read, and those that get a helpful error.
var accepted = []types.MediaType{
	types.OCIImageIndex, types.DockerManifestList, types.OCIManifestSchema1, types.DockerManifestSchema2,
	types.DockerManifestSchema1Signed, types.DockerManifestSchema1,
}

// Find resolves a reference in the registry, or before that in the registry's mirror.
// It does not download layers.
func (c *Client) Find(ctx context.Context, ref Reference) (*Found, error) {
	found, note, err := tryMirror(ctx, c, ref, c.find)
	if err != nil {
		return nil, err
	}
	found.Note = note
	found.session.ref = ref // the requested reference
	return found, nil
}

// tryMirror calls find with the reference in the registry's mirror, if there is one, and
// with the reference itself if that fails; note says why it failed.
func tryMirror[T any](ctx context.Context, c *Client, ref Reference, find func(context.Context, Reference) (T, error)) (found T, note string, err error) {
	mirror, ok, err := c.mirror(ref)
	if err != nil {
		return found, "", err
	}
	if !ok {
		found, err = find(ctx, ref)
		return found, "", err
	}
	found, mirrorErr := find(ctx, mirror)
	if mirrorErr == nil || ctx.Err() != nil {
		return found, "", mirrorErr
	}
	if found, err = find(ctx, ref); err != nil {
		e := *api.AsError(err)
		e.Message += "; the mirror does not have it either: " + mirrorErr.Error()
		return found, "", &e
	}
	return found, "the mirror of " + ref.Registry() + " could not be used: " + mirrorErr.Error(), nil
}

// mirror returns the name of a reference in the mirror of its registry; false if it
// has none.
func (c *Client) mirror(ref Reference) (Reference, bool, error) {
	if c.o.Mirrors == nil {
		return ref, false, nil
	}
	mirrors, err := c.o.Mirrors()
	place, ok := mirrors[ref.Registry()]
	if err != nil || !ok {
		return ref, false, err
	}
	there, err := Parse(place + "/" + ref.ref.Context().RepositoryStr() + ref.separator() + ref.ref.Identifier())
	return there, err == nil, err
}

func (c *Client) find(ctx context.Context, ref Reference) (*Found, error) {
	s, err := c.connect(ctx, ref)
	if err != nil {
		return nil, explain(ctx, ref, login{}, err)
	}
	f := &Found{client: c, session: s}
	if err := f.find(ctx, ref.ref.Identifier(), 0); err != nil {
		s.close()
		return nil, explain(ctx, ref, s.login, err)
	}
	return f, nil
}

// deepest is how deep indexes may be nested: more than one level is unusual.
const deepest = 3

// find follows indexes to the manifest for this machine's platform.
func (f *Found) find(ctx context.Context, id string, depth int) error {
	raw, kind, err := f.session.document(ctx, "/manifests/"+id, digestOf(id), -1)
	if err != nil {
		return err
	}
	switch {
	case kind.IsIndex():
		return f.choose(ctx, raw, depth)
	case kind.IsSchema1():
		return api.Errorf(api.KindUnsupported, "its format is obsolete since 2017 (schema 1)").
			WithHint("run docker pull and docker push once, which converts it")
	case !kind.IsImage():
		return api.Errorf(api.KindUnsupported, "it is not an image: the name refers to %.100q", kind).
			WithHint("give the name of an image")
	}
	if f.manifest, err = oci.ParseManifest(raw); err != nil {
		return err
	}
	f.raw, f.Manifest = raw, oci.Digest(raw)
	return checkSizes(f.manifest)
}

// choose follows an index: to the manifest that declares this machine's platform, or
// else to the first image of those that declare none. Artifacts, such as signatures,
// often declare none.
func (f *Found) choose(ctx context.Context, index []byte, depth int) error {
	all, err := oci.Choose(index, runtime.GOARCH)
	if err != nil {
		return err
	}
	if depth == deepest {
		return invalid("its indexes are nested too deep")
	}
	var first error
	for n, d := range all {
		if n == mostAsked {
			break
		}
		err := f.find(ctx, d.Digest.String(), depth+1)
		if err == nil && d.Platform == nil {
			err = f.fits(ctx)
		}
		if err == nil || api.KindOf(err) != api.KindUnsupported {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// mostAsked bounds how many manifests of an index are requested.
const mostAsked = 20

// fits requests the configuration of an image whose platform is not declared elsewhere.
func (f *Found) fits(ctx context.Context) error {
	config := f.manifest.Config
	raw, _, err := f.session.document(ctx, "/blobs/"+config.Digest.String(), config.Digest.String(), config.Size)
	if err != nil {
		return err
	}
	_, err = f.image(raw)
	return err
}

func invalid(format string, args ...any) *api.Error {
	return api.Errorf(api.KindInvalid, format, args...).WithHint("the image's author has to push it again")
}

func digestOf(id string) string {
	if oci.IsDigest(id) {
		return id
	}
	return ""
}

// document downloads a manifest or configuration: small, and verified if its digest is
// known. size is its declared size in bytes, or -1.
func (s *session) document(ctx context.Context, path, digest string, size int64) ([]byte, types.MediaType, error) {
	if size > oci.MaxDocument {
		return nil, "", invalid("%s has a declared size of %d bytes: more than %d MiB", path, size, oci.MaxDocument>>20)
	}
	header := http.Header{}
	if size < 0 {
		for _, t := range accepted {
			header.Add("Accept", string(t))
		}
	}
	var raw []byte
	kind := ""
	err := retry(ctx, func() error {
		resp, err := s.get(ctx, path, header)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if err := transport.CheckError(resp, http.StatusOK); err != nil {
			return err
		}
		kind = resp.Header.Get("Content-Type")
		raw, err = io.ReadAll(io.LimitReader(resp.Body, oci.MaxDocument+1))
		return err
	})
	if err != nil {
		return nil, "", err
	}
	switch {
	case len(raw) > oci.MaxDocument:
		return nil, "", invalid("%s is larger than %d MiB", path, oci.MaxDocument>>20)
	case size >= 0 && int64(len(raw)) != size:
		return nil, "", invalid("its manifest is wrong: %s has %d bytes, not %d", path, len(raw), size)
	case digest != "" && oci.Digest(raw) != digest:
		return nil, "", api.Errorf(api.KindInvalid, "wrong digest: the registry sent %s for %s", oci.Digest(raw), digest).
			WithHint("try again; if it fails again, the registry or a proxy serves wrong data")
	}
	return raw, oci.KindOf(kind, raw), nil
}

// checkSizes refuses invalid sizes.
func checkSizes(m *v1.Manifest) error {
	for _, d := range m.Layers {
		if d.Size > maxLayer {
			return invalid("its manifest is wrong: it lists %s with %d bytes", d.Digest, d.Size)
		}
	}
	return nil
}

// maxLayer bounds the declared size of a layer, so that sums of 512 do not overflow: 1
// TiB.
const maxLayer = 1 << 40

// temporary reports whether a retry of a request may succeed.
func temporary(err error) bool {
	var answer *transport.Error
	if plain := (httpError{}); errors.As(err, &plain) && !errors.As(err, &answer) {
		err = plain.error // it is expected that this machine's registry does not speak TLS
	}
	switch {
	case errors.As(err, &answer):
		return answer.StatusCode >= 500 || answer.StatusCode == http.StatusRequestTimeout
	case errors.As(err, new(limitError)), errors.As(err, new(*api.Error)):
		return false
	}
	return !untrusted(err) && !unencrypted(err)
}
