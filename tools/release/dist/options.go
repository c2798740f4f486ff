package dist

import (
	"net/url"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"banger/api"
	"banger/internal/update/release"
)

// check refuses options that would make an unusable release.
func (o Options) check() error {
	if !release.ValidVersion(o.Source.Version) {
		return api.Errorf(api.KindInvalid, "cannot build release %q: a version has the form vX.Y.Z", o.Source.Version).
			WithHint("make release VERSION=v1.2.3")
	}
	if (o.Root == nil) != (o.Repository == "") {
		return api.Errorf(api.KindInvalid, "cannot build release %s: an update repository needs both its root and its URL", o.Source.Version).
			WithHint("make release VERSION=%s ROOT=root.json REPOSITORY=https://…", o.Source.Version)
	}
	if o.Root != nil {
		if err := checkRoot(o.Root); err != nil {
			return api.Errorf(api.KindInvalid, "cannot build release %s: its root of trust is not valid: %w", o.Source.Version, err)
		}
	}
	for _, u := range []string{o.Repository, o.Download} {
		if u != "" && !plainURL(u) {
			return api.Errorf(api.KindInvalid, "cannot build release %s: %q is not a plain https URL", o.Source.Version, u)
		}
	}
	return nil
}

// checkRoot checks that a root is signed by its own keys, as a client requires.
func checkRoot(data []byte) error {
	root, err := (&metadata.Metadata[metadata.RootType]{}).FromBytes(data)
	if err != nil {
		return err
	}
	return root.VerifyDelegate(metadata.ROOT, root)
}

// plainURL reports whether a URL can be used in a linker's flag and in a shell's
// quotes. http is accepted for the loopback interface only, for tests.
func plainURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(s, " \t\r\n'\"\\`$") {
		return false
	}
	host := u.Hostname()
	return u.Scheme == "https" || u.Scheme == "http" && (host == "127.0.0.1" || host == "::1" || host == "localhost")
}
