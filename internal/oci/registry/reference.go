// Package registry pulls images from registries, as the OCI distribution
// specification has it (https://github.com/opencontainers/distribution-spec):
// it finds out what a reference means, with which credentials, for which
// platform, and has the layers brought into the blob cache.
package registry

import (
	"errors"
	"net"
	"net/netip"
	"regexp"
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

// repositoryRule is the grammar of names in a registry, which the library only knows the
// characters of (https://github.com/distribution/reference/blob/main/reference.go).
var repositoryRule = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// Parse reads a reference as people write them: without a registry it is of
// docker.io, without a tag or digest it is "latest".
func Parse(text string) (Reference, error) {
	bad := func(format string, args ...any) (Reference, error) {
		return Reference{}, api.Errorf(api.KindInvalid, "%.200q is not a valid name for an image: "+format, append([]any{text}, args...)...).
			WithHint("names look like alpine, alpine:3.20, registry.example.com/owner/image:tag or image@sha256:…")
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
	if isHex(text) || strings.HasPrefix(text, "sha256:") {
		return bad("it is a digest")
	}
	text = lowerHost(text)
	ref, err := name.ParseReference(text)
	if err != nil && strings.ToLower(text) != text {
		if _, lower := name.ParseReference(strings.ToLower(text)); lower == nil {
			return bad("names of images are in lower case")
		}
	}
	if err == nil && !repositoryRule.MatchString(ref.Context().RepositoryStr()) {
		err = errors.New("bad name")
	}
	if err != nil {
		return bad("it has to be name, name:tag or name@digest, of lower-case letters and digits, with . _ - and / in between")
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

// isHex says whether a name is what digests are made of: nobody could tell them apart.
func isHex(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

// lowerHost writes a reference's registry in lower case: names of hosts have none.
func lowerHost(text string) string {
	host, rest, ok := strings.Cut(text, "/")
	if !ok || !strings.ContainsAny(host, ".:") && !strings.EqualFold(host, "localhost") {
		return text
	}
	return strings.ToLower(host) + "/" + rest
}

// loopback says whether a registry is on this machine: what is sent to it is
// seen by nobody else. Names below localhost are, whatever others say: see dialer.
func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.Trim(host, "[]")
	if localName(host) {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// localName says whether a name is always this machine's (RFC 6761, section 6.3).
func localName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
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

// Familiar is the reference as people write it: as short as it can be where it is of
// docker.io, and still mean the same.
func (r Reference) Familiar() string {
	long := r.String()
	middle := strings.TrimPrefix(long, defaultRegistry+"/")
	for _, short := range []string{strings.TrimPrefix(middle, library), middle} {
		if again, err := Parse(short); err == nil && again.String() == long {
			return short
		}
	}
	return long
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
