package fcrelease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/driver/firecracker"
	"banger/internal/faultpoint"
	"banger/internal/host/fsx"
	"banger/internal/update/archive"
)

// The limits of an archive and its content, in bytes. The programs of releases 1.7 to
// 1.14 have about 3 MB each; archives also contain tools and debug files.
const (
	maxArchive = 256 << 20
	maxProgram = 64 << 20
	maxOthers  = 2 << 30
	spare      = 32 << 20 // space for the programs, besides the archive
)

// Want selects a release: the newest if both are empty.
type Want struct {
	Version string // such as 1.16.1
	File    string // a downloaded archive, with its original name
}

// release is a release that is being installed.
type release struct {
	version firecracker.Version
	archive string // the archive's name
	digest  string // as published; empty: not published
	from    string
}

// Get installs a release, unless it is installed, and switches to it. On failure
// nothing changes.
func (s *Store) Get(ctx context.Context, w Want) (Release, error) {
	if err := s.prepare(); err != nil {
		return Release{}, err
	}
	rel, err := s.choose(ctx, w)
	if err != nil {
		return Release{}, err
	}
	if rel.digest != "" {
		if err := s.sameAsBefore(rel); err != nil {
			return Release{}, err
		}
		if have, whole := s.intact(rel.version.String()); whole && have.Archive == rel.digest {
			if err := s.remember(rel.archive, rel.digest); err != nil {
				return Release{}, err
			}
			return s.use(have)
		}
	}
	stage, err := os.MkdirTemp(s.Dir, stagePrefix)
	if err != nil {
		return Release{}, fsx.DiskError("get Firecracker", err)
	}
	defer os.RemoveAll(stage)
	// A user without any rights runs the programs in it for a test.
	if err := os.Chmod(stage, 0o755); err != nil {
		return Release{}, api.AsError(err)
	}
	have, err := s.install(ctx, rel, w.File, stage)
	if err != nil {
		return Release{}, err
	}
	return s.use(have)
}

// choose finds out which release is wanted, and refuses one that cannot be used.
func (s *Store) choose(ctx context.Context, w Want) (rel release, err error) {
	arch, err := machine()
	if err != nil {
		return rel, err
	}
	switch {
	case w.File != "":
		rel.version, err = parseName(filepath.Base(w.File), arch)
	case w.Version != "":
		rel.version, err = parseVersion(w.Version)
	default:
		s.Step("asking " + s.Source)
		rel.version, err = s.latest(ctx)
	}
	if err == nil {
		_, err = firecracker.CheckVersions(rel.version, rel.version)
	}
	if err != nil {
		return rel, err
	}
	rel.archive = archiveName(rel.version, arch)
	if w.File != "" {
		rel.from = w.File
		rel.digest, err = s.digestBeside(w.File, rel.archive)
		return rel, err
	}
	rel.from = s.url("download", "v"+rel.version.String(), rel.archive)
	rel.digest, err = s.published(ctx, rel)
	return rel, err
}

// sameAsBefore refuses an archive whose published digest has changed.
func (s *Store) sameAsBefore(rel release) error {
	known, err := s.digests()
	if err != nil {
		return err
	}
	if before := known[rel.archive]; before != "" && before != rel.digest {
		return api.Errorf(api.KindDenied, "cannot trust %s: its SHA-256 is %s, but was %s at an earlier download: a release must not change", rel.archive, rel.digest, before).
			WithHint("ask Firecracker's maintainers for the reason; if it is valid, remove that line from %s", s.path(digestsFile))
	}
	return nil
}

// install moves a release's programs to their version's directory, in one step.
func (s *Store) install(ctx context.Context, rel release, file, stage string) (Release, error) {
	published := rel.digest
	path, err := s.obtain(ctx, &rel, file, stage)
	if err != nil {
		return Release{}, err
	}
	faultpoint.Reach("firecracker", "obtained")
	s.Step("unpacking " + rel.archive)
	dir := filepath.Join(stage, rel.version.String())
	if err := s.unpack(ctx, rel, path, dir); err != nil {
		return Release{}, err
	}
	faultpoint.Reach("firecracker", "unpacked")
	s.Step("testing its programs")
	if err := s.try(ctx, rel, dir); err != nil {
		return Release{}, err
	}
	r := Release{Version: rel.version.String(), Archive: rel.digest, From: rel.from, At: s.Now().UTC()}
	if now, used, err := s.Current(); err == nil && used && now.Version == r.Version {
		r.Previous = now.Previous // the programs in use were damaged
	}
	r.Firecracker, err = digestOf(filepath.Join(dir, "firecracker"))
	if err == nil {
		r.Jailer, err = digestOf(filepath.Join(dir, "jailer"))
	}
	if err == nil {
		err = writeJSON(filepath.Join(dir, manifestFile), r)
	}
	if err != nil {
		return Release{}, fsx.DiskError("install Firecracker", err)
	}
	if published != "" {
		if err := s.remember(rel.archive, published); err != nil {
			return Release{}, err
		}
	}
	now, used, _ := s.Current() // another link does not lead to one of these
	err = fsx.Swap(dir, s.path(versionsDir, r.Version), used && now.Version == r.Version)
	if err == nil {
		err = fsx.SyncDir(s.path(versionsDir))
	}
	faultpoint.Reach("firecracker", "installed")
	return r, fsx.DiskError("install Firecracker", err)
}

// unpack unpacks exactly the two programs of an archive.
func (s *Store) unpack(ctx context.Context, rel release, path, dir string) error {
	f, err := os.Open(path)
	if err != nil {
		return api.AsError(err)
	}
	defer f.Close()
	suffix := strings.TrimSuffix(strings.TrimPrefix(rel.archive, "firecracker"), ".tgz") // -vX.Y.Z-ARCH
	l := archive.Layout{
		What: rel.archive, Hint: nothingChanged, Size: maxProgram, Others: true, Total: cmp.Or(s.othersMax, maxOthers),
		Files: []archive.File{
			{Name: "release" + suffix + "/firecracker" + suffix, As: "firecracker"},
			{Name: "release" + suffix + "/jailer" + suffix, As: "jailer"},
		},
	}
	return l.Unpack(&cancelled{ctx, f}, dir)
}

const nothingChanged = "nothing was changed"

// cancelled is a reader that fails when its context ends.
type cancelled struct {
	ctx  context.Context
	from *os.File
}

func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.from.Read(p)
}

// archiveName returns the name of a release's archive.
func archiveName(v firecracker.Version, arch string) string {
	return fmt.Sprintf("firecracker-v%s-%s.tgz", v, arch)
}

func parseVersion(text string) (firecracker.Version, error) {
	v, ok := firecracker.Parse(text)
	if !ok {
		return v, api.Errorf(api.KindInvalid, "cannot get Firecracker: %.80q is not a valid version", text).
			WithHint("use one such as 1.16.1")
	}
	return v, nil
}

// parseName parses the version in an archive's name.
func parseName(name, arch string) (firecracker.Version, error) {
	for _, other := range slices.Sorted(slices.Values(architectures())) {
		text, ours := strings.CutSuffix(name, "-"+other+".tgz")
		text, named := strings.CutPrefix(text, "firecracker-v")
		v, ok := firecracker.Parse(text)
		switch {
		case !ours || !named || !ok:
			continue
		case other != arch:
			return v, api.Errorf(api.KindInvalid, "cannot use %s: it is for %s, but this machine is %s", name, other, arch)
		}
		return v, nil
	}
	return firecracker.Version{}, api.Errorf(api.KindInvalid, "cannot find the version in the name %.100q", name).
		WithHint("give the archive its original name, such as firecracker-v1.16.1-%s.tgz", arch)
}

// cancelOr returns a cancellation error if the context has ended, otherwise err.
func cancelOr(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return api.Errorf(api.KindCanceled, "cannot get Firecracker: it was cancelled")
	}
	return err
}
