package fcrelease

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/driver/firecracker"
	"banger/internal/fetch"
	"banger/internal/host/fsx"
)

// maxRedirects is how many redirects are followed: a release page redirects to a file
// store and, if the project has moved, to its new place.
const maxRedirects = 5

// maxDigest bounds the file with a digest in bytes: one has 96.
const maxDigest = 4 << 10

// NewClient makes a client that follows redirects to other hosts, but not from https to
// http.
func NewClient(o fetch.Options) *fetch.Client {
	o.Redirect = checkRedirect
	return fetch.New(o)
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return refuse("cannot get Firecracker: %s redirects more than %d times", via[0].URL, maxRedirects)
	case req.URL.Scheme == "https":
		return nil
	case req.URL.Scheme == "http" && via[0].URL.Scheme == "http" && fetch.Loopback(req.URL):
		return nil // both are on this machine
	}
	return refuse("cannot get Firecracker: %s redirects to %s://%s, which is not encrypted", via[0].URL, req.URL.Scheme, req.URL.Host)
}

func refuse(format string, args ...any) *api.Error {
	return api.Errorf(api.KindDenied, format, args...).WithHint(nothingChanged)
}

// CheckSource refuses an address that cannot serve releases.
func CheckSource(address string) error {
	if _, err := fetch.ParseURL(address); err != nil {
		return api.Errorf(api.KindInvalid, "cannot get Firecracker from %q: %w", address, err).
			WithHint("set firecracker_url to an address that begins with https://, or remove it: banger config show")
	}
	return nil
}

func (s *Store) url(parts ...string) string {
	return strings.TrimRight(s.Source, "/") + "/" + strings.Join(parts, "/")
}

// latest finds the newest release: the page .../latest redirects to .../tag/vX.Y.Z,
// which needs no account.
func (s *Store) latest(ctx context.Context) (firecracker.Version, error) {
	var version firecracker.Version
	place, err := s.Client.Resolve(ctx, s.url("latest"), func(u *url.URL) bool {
		v, ok := firecracker.Parse(path.Base(u.Path))
		if ok = ok && path.Base(path.Dir(u.Path)) == "tag"; ok {
			version = v
		}
		return ok
	})
	if err == nil && place == nil {
		err = api.Errorf(api.KindNotFound, "cannot find the newest Firecracker: %s does not lead to a release", s.url("latest")).
			WithHint("sudo banger system firecracker --version VERSION   installs a specific version")
	}
	return version, err
}

// published downloads the digest of a release's archive.
func (s *Store) published(ctx context.Context, rel release) (string, error) {
	data, err := s.Client.Bytes(ctx, rel.from+".sha256.txt", maxDigest)
	if fetch.Missing(err) {
		return "", api.Errorf(api.KindNotFound, "cannot get Firecracker %s: %s has no %s.sha256.txt", rel.version, s.Source, rel.archive).
			WithHint("%s   lists the releases", s.Source)
	}
	if err != nil {
		return "", err
	}
	return parseDigest(data, rel.archive)
}

// digestBeside reads the digest of an archive from the file beside it; empty if there
// is none.
func (s *Store) digestBeside(file, archive string) (string, error) {
	f, err := openRegular(file + ".sha256.txt")
	if errors.Is(err, os.ErrNotExist) {
		s.Step("there is no " + filepath.Base(file) + ".sha256.txt beside it, so the archive's origin is not verified")
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDigest+1))
	if err != nil {
		return "", api.AsError(err)
	}
	return parseDigest(data, archive)
}

// parseDigest parses the output of sha256sum(1).
func parseDigest(data []byte, archive string) (string, error) {
	fields := strings.Fields(string(data))
	bad := func(cause string) (string, error) {
		return "", refuse("cannot trust %s: its SHA-256 cannot be read: %s", archive, cause)
	}
	switch {
	case len(data) > maxDigest:
		return bad("it is too long")
	case len(fields) != 2:
		return bad("it is not a line of sha256sum")
	case path.Base(strings.TrimPrefix(fields[1], "*")) != archive:
		return bad("it belongs to another file")
	}
	digest := strings.ToLower(fields[0])
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) != sha256.Size {
		return bad("it is not a valid SHA-256")
	}
	return digest, nil
}

// obtain copies the archive into the stage and returns its path. It checks the
// published digest; if there is none, it stores the archive's digest in rel.
func (s *Store) obtain(ctx context.Context, rel *release, file, stage string) (string, error) {
	var from io.Reader
	var length int64
	explain := func(err error) error { return cancelOr(ctx, api.AsError(err)) }
	if file != "" {
		f, err := openRegular(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return "", api.AsError(err)
		}
		from, length = &cancelled{ctx, f}, info.Size()
	} else {
		b, err := s.Client.Get(ctx, rel.from)
		if fetch.Missing(err) {
			return "", api.Errorf(api.KindNotFound, "cannot get %s: %s does not have it", rel.archive, s.Source)
		}
		if err != nil {
			return "", err
		}
		defer b.Close()
		from, length, explain = b, max(0, b.Length), b.Cause
	}
	if length > s.mostBytes() {
		return "", s.tooLong(*rel)
	}
	if err := fsx.NeedSpace(stage, length+spare); err != nil {
		return "", err
	}
	path := filepath.Join(stage, rel.archive)
	sum, err := s.save(path, *rel, from, length, explain)
	if err != nil {
		return "", err
	}
	if rel.digest != "" && rel.digest != sum {
		return "", refuse("cannot trust %s: its SHA-256 is %s, but %s was published", rel.archive, sum, rel.digest)
	}
	if rel.digest == "" {
		rel.digest = sum
		return path, s.sameAsBefore(*rel)
	}
	return path, nil
}

// save writes an archive and returns its digest.
func (s *Store) save(path string, rel release, from io.Reader, length int64, explain func(error) error) (string, error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return "", fsx.DiskError("get "+rel.archive, err)
	}
	defer out.Close()
	sum := sha256.New()
	buf := make([]byte, 128<<10)
	for done := int64(0); ; {
		n, err := from.Read(buf)
		if done += int64(n); done > s.mostBytes() {
			return "", s.tooLong(rel)
		}
		sum.Write(buf[:n])
		if _, err := out.Write(buf[:n]); err != nil {
			return "", fsx.DiskError("get "+rel.archive, err)
		}
		s.Progress(rel.archive, done, length)
		switch {
		case errors.Is(err, io.EOF):
			return hex.EncodeToString(sum.Sum(nil)), nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return "", refuse("cannot get %s: it was cut off after %d of %d bytes", rel.archive, done, length)
		case err != nil:
			return "", explain(err)
		}
	}
}

func (s *Store) mostBytes() int64 { return cmp.Or(s.archiveMax, maxArchive) }

func (s *Store) tooLong(rel release) error {
	return refuse("cannot get %s: it has more than %d MiB", rel.archive, s.mostBytes()>>20)
}

// openRegular opens a regular file, and does not wait for a FIFO (fifo(7)).
func openRegular(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, api.Errorf(api.KindNotFound, "cannot read %s: %w", file, os.ErrNotExist)
	}
	if err != nil {
		return nil, api.Errorf(api.KindInvalid, "cannot read %s: %w", file, err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, api.Errorf(api.KindInvalid, "cannot read %s: it is not a regular file", file)
	}
	return f, nil
}
