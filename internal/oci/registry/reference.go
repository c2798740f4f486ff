// Package registry pulls images from registries, as the OCI distribution
// specification has it (https://github.com/opencontainers/distribution-spec):
// it finds out what a reference means, with which credentials, for which
// platform, and has the layers brought into the blob cache.
package registry

import (
	"net"
	"net/netip"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"banger/api"
)

// The registry of references that name none, as people know it and as it is
// asked.
const (
	defaultRegistry = "docker.io"
	library         = "library/"
)

// Reference names an image in a registry.
type Reference struct{ ref name.Reference }

// Parse reads a reference as people write them: without a registry it is of
// docker.io, without a tag or digest it is "latest".
func Parse(text string) (Reference, error) {
	bad := func(format string, args ...any) (Reference, error) {
		return Reference{}, api.Errorf(api.KindInvalid, "%.200q is no reference of an image: "+format, append([]any{text}, args...)...).
			WithHint("references look like alpine, alpine:3.20, registry.example.com/owner/image:tag or image@sha256:…")
	}
	if _, rest, ok := strings.Cut(text, "://"); ok {
		return bad("leave out what is before %q", rest)
	}
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "/") {
		return bad("it looks like a file, for `banger image import`")
	}
	if len(text) > 512 {
		return bad("it is too long")
	}
	ref, err := name.ParseReference(text)
	if err != nil && strings.ToLower(text) != text {
		if _, lower := name.ParseReference(strings.ToLower(text)); lower == nil {
			return bad("names of images are in lower case")
		}
	}
	if err != nil {
		return bad("it is none of name, name:tag and name@digest")
	}
	if loopback(ref.Context().RegistryStr()) {
		// HTTPS first all the same, and HTTP where nobody answers that.
		ref, err = name.ParseReference(text, name.Insecure)
	}
	if err != nil {
		return bad("%w", err)
	}
	return Reference{ref}, nil
}

// loopback says whether a registry is on this machine: what is sent to it is
// seen by nobody else. Names below localhost are (RFC 6761, section 6.3).
func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// Registry is the registry's name, with its port where one was given.
func (r Reference) Registry() string {
	if host := r.ref.Context().RegistryStr(); host != name.DefaultRegistry {
		return host
	}
	return defaultRegistry
}

// String is the whole reference.
func (r Reference) String() string {
	return r.Registry() + "/" + r.ref.Context().RepositoryStr() + r.separator() + r.ref.Identifier()
}

// Familiar is the reference as people write it: short where it is of docker.io.
func (r Reference) Familiar() string {
	return strings.TrimPrefix(strings.TrimPrefix(r.String(), defaultRegistry+"/"), library)
}

// Digest is the digest that the reference names, empty where it names a tag: such
// an image never changes.
func (r Reference) Digest() string {
	if _, ok := r.ref.(name.Digest); ok {
		return r.ref.Identifier()
	}
	return ""
}

func (r Reference) separator() string {
	if r.Digest() != "" {
		return "@"
	}
	return ":"
}
