// Package registry pulls images from registries, according to the OCI distribution
// specification (https://github.com/opencontainers/distribution-spec): it resolves a
// reference, finds credentials, selects the platform, and downloads the layers into the
// blob cache.
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

// The default registry: its name in references, and its host name.
const (
	defaultRegistry = "docker.io"
	library         = "library/"
)

// Reference names an image in a registry.
type Reference struct {
	ref   name.Reference
	retry string // the command that pulls it again; "": image pull
}

// Retry returns the reference, about which errors name another command to try again with
// than image pull.
func (r Reference) Retry(command string) Reference { return Reference{r.ref, command} }

// repositoryRule is the grammar of repository names; the library only checks their
// characters (https://github.com/distribution/reference/blob/main/reference.go).
var repositoryRule = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// Parse parses a reference: the default registry is docker.io, the default tag is
// "latest".
func Parse(text string) (Reference, error) {
	bad := func(format string, args ...any) (Reference, error) {
		return Reference{}, api.Errorf(api.KindInvalid, "%.200q is not a valid name for an image: "+format, append([]any{text}, args...)...).
			WithHint("names look like alpine, alpine:3.20, registry.example.com/owner/image:tag or image@sha256:…")
	}
	if _, rest, ok := strings.Cut(text, "://"); ok {
		return bad("remove what is before %q", rest)
	}
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "/") {
		return bad("it looks like a file: use `banger image import`")
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
			return bad("names of images must be in lower case")
		}
	}
	if err == nil && !repositoryRule.MatchString(ref.Context().RepositoryStr()) {
		err = errors.New("invalid name")
	}
	if err != nil {
		return bad("it has to be name, name:tag or name@digest, of lower-case letters and digits, with . _ - and / in between")
	}
	if loopback(ref.Context().RegistryStr()) {
		// Nevertheless HTTPS is tried first, and HTTP only if that fails.
		ref, err = name.ParseReference(text, name.Insecure)
	}
	if err != nil {
		return bad("%w", err)
	}
	return Reference{ref: ref}, nil
}

// isHex reports whether a name consists of hexadecimal digits only: it could not be
// distinguished from a digest.
func isHex(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

// lowerHost converts a reference's registry to lower case: host names are
// case-insensitive.
func lowerHost(text string) string {
	host, rest, ok := strings.Cut(text, "/")
	if !ok || !strings.ContainsAny(host, ".:") && !strings.EqualFold(host, "localhost") {
		return text
	}
	return strings.ToLower(host) + "/" + rest
}

// loopback reports whether a registry is on this machine, so that nobody else can read
// the traffic. Names below localhost are, whatever a resolver says: see dialer.
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

// localName reports whether a name always is this machine's (RFC 6761, section 6.3).
func localName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// Registry returns the registry's name, with the port if the reference has one.
func (r Reference) Registry() string {
	if host := r.ref.Context().RegistryStr(); host != name.DefaultRegistry {
		return host
	}
	return defaultRegistry
}

// String returns the full reference.
func (r Reference) String() string {
	return r.Registry() + "/" + r.ref.Context().RepositoryStr() + r.separator() + r.ref.Identifier()
}

// Familiar returns the short form of the reference, without the parts that are the
// default.
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

// Digest returns the digest in the reference, or "" if it has a tag: an image with a
// digest never changes.
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
