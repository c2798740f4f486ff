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
	"banger/internal/fsx"
	"banger/internal/update/archive"
)

// The bounds of an archive and of what is in it, in bytes. The programs of releases 1.7
// to 1.14 have some 3 MB each; beside them an archive has tools, and files for debuggers.
const (
	maxArchive = 256 << 20
	maxProgram = 64 << 20
	maxOthers  = 2 << 30
	spare      = 32 << 20 // room for the programs, beside the archive
)

// Want says which release to get: the newest where both are empty.
type Want struct {
	Version string // such as 1.16.1
	File    string // an archive that is there already, with the name that its makers gave it
}

// release is one that is being got.
type release struct {
	version firecracker.Version
	archive string // the archive's name
	digest  string // as published; empty: nobody has
	from    string
}

// Get gets a release, unless it is there, and switches to it. Nothing changes where
// it fails.
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
	// Programs in it are tried by a user who has nothing to do with it.
	if err := os.Chmod(stage, 0o755); err != nil {
		return Release{}, api.AsError(err)
	}
	have, err := s.install(ctx, rel, w.File, stage)
	if err != nil {
		return Release{}, err
	}
	return s.use(have)
}

// choose finds out which release is meant, and refuses one that is of no use.
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
		_, err = firecracker.Judge(rel.version, rel.version)
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

// sameAsBefore refuses an archive for which another digest was published earlier.
func (s *Store) sameAsBefore(rel release) error {
	known, err := s.digests()
	if err != nil {
		return err
	}
	if before := known[rel.archive]; before != "" && before != rel.digest {
		return api.Errorf(api.KindDenied, "cannot trust %s: its SHA-256 is %s, and was %s when it was got before: a release does not change", rel.archive, rel.digest, before).
			WithHint("ask its makers for the reason; if you believe it, remove that line from %s", s.path(digestsFile))
	}
	return nil
}

// install puts a release's programs into the directory of their version, in one step.
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
	s.Step("trying its programs")
	if err := s.try(ctx, rel, dir); err != nil {
		return Release{}, err
	}
	r := Release{Version: rel.version.String(), Archive: rel.digest, From: rel.from, At: s.Now().UTC()}
	if now, used, err := s.Current(); err == nil && used && now.Version == r.Version {
		r.Previous = now.Previous // the programs that are used were damaged
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
	now, used, _ := s.Current() // a link that is not ours leads to none of these
	err = fsx.Swap(dir, s.path(versionsDir, r.Version), used && now.Version == r.Version)
	if err == nil {
		err = fsx.SyncDir(s.path(versionsDir))
	}
	faultpoint.Reach("firecracker", "installed")
	return r, fsx.DiskError("install Firecracker", err)
}

// unpack takes exactly the two programs out of an archive.
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

// cancelled is a reader that ends with its context.
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

// archiveName is what a release's archive is called.
func archiveName(v firecracker.Version, arch string) string {
	return fmt.Sprintf("firecracker-v%s-%s.tgz", v, arch)
}

func parseVersion(text string) (firecracker.Version, error) {
	v, ok := firecracker.Parse(text)
	if !ok {
		return v, api.Errorf(api.KindInvalid, "cannot get Firecracker: %.80q is not a valid version", text).
			WithHint("write one such as 1.16.1")
	}
	return v, nil
}

// parseName reads the version out of an archive's name.
func parseName(name, arch string) (firecracker.Version, error) {
	for _, other := range slices.Sorted(slices.Values(architectures())) {
		text, ours := strings.CutSuffix(name, "-"+other+".tgz")
		text, named := strings.CutPrefix(text, "firecracker-v")
		v, ok := firecracker.Parse(text)
		switch {
		case !ours || !named || !ok:
			continue
		case other != arch:
			return v, api.Errorf(api.KindInvalid, "cannot use %s: it is for %s, and this machine is %s", name, other, arch)
		}
		return v, nil
	}
	return firecracker.Version{}, api.Errorf(api.KindInvalid, "cannot tell the version of %.100q from its name", name).
		WithHint("give the archive the name that its makers gave it, such as firecracker-v1.16.1-%s.tgz", arch)
}

// cancelOr returns the error of a context that has ended, else err.
func cancelOr(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return api.Errorf(api.KindCanceled, "cannot get Firecracker: it was cancelled")
	}
	return err
}
