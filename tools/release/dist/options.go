package dist

import (
	"net/url"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"banger/api"
	"banger/internal/update/release"
)

// check refuses what would make a release that nobody can use.
func (o Options) check() error {
	if !release.ValidVersion(o.Source.Version) {
		return api.Errorf(api.KindInvalid, "cannot build release %q: a version is vX.Y.Z", o.Source.Version).
			WithHint("make release VERSION=v1.2.3")
	}
	if (o.Root == nil) != (o.Repository == "") {
		return api.Errorf(api.KindInvalid, "cannot build release %s: an update repository is its root and its URL, both or neither", o.Source.Version).
			WithHint("make release VERSION=%s ROOT=root.json REPOSITORY=https://…", o.Source.Version)
	}
	if o.Root != nil {
		if err := checkRoot(o.Root); err != nil {
			return api.Errorf(api.KindInvalid, "cannot build release %s: its root of trust is none: %w", o.Source.Version, err)
		}
	}
	for _, u := range []string{o.Repository, o.Download} {
		if u != "" && !plainURL(u) {
			return api.Errorf(api.KindInvalid, "cannot build release %s: %q is no plain https URL", o.Source.Version, u)
		}
	}
	return nil
}

// checkRoot sees that a root vouches for itself, as a client demands.
func checkRoot(data []byte) error {
	root, err := (&metadata.Metadata[metadata.RootType]{}).FromBytes(data)
	if err != nil {
		return err
	}
	return root.VerifyDelegate(metadata.ROOT, root)
}

// plainURL tells whether a URL may stand in a linker's flag and in a shell's
// quotes. http is for the loopback interface only: for tests.
func plainURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(s, " \t\r\n'\"\\`$") {
		return false
	}
	host := u.Hostname()
	return u.Scheme == "https" || u.Scheme == "http" && (host == "127.0.0.1" || host == "::1" || host == "localhost")
}
