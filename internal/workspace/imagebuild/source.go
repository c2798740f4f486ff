package imagebuild

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/size"
	"banger/internal/workspace/devcontainer"
	"banger/internal/workspace/gitrepo"
	"banger/internal/workspace/project"
)

// Limits of what describes a build, in bytes, and of the rules of .dockerignore: each is compared with
// each file.
const (
	maxDockerfile = size.MiB
	maxIgnore     = 64 * size.KiB
	maxRules      = 1000
)

// ignoreName is the file with the rules of what does not belong to the context.
const ignoreName = ".dockerignore"

// Source is what an image is built of.
type Source struct {
	devcontainer.Build
	repo       *gitrepo.Repo
	files      []gitrepo.File // of the context
	dockerfile []byte
	ignore     []byte // .dockerignore
}

// Open reads what an image is built of: the Dockerfile as it lies in the workspace, and for a context
// the files that belong to the workspace and that .dockerignore does not leave out. Files that git ignores
// do not belong to it unless how selects them, and its .git never does.
func Open(ctx context.Context, repo *gitrepo.Repo, how gitrepo.Select, b devcontainer.Build) (*Source, error) {
	s := &Source{Build: b, repo: repo}
	var err error
	if s.dockerfile, err = project.ReadFile(repo.Top(), b.Dockerfile, maxDockerfile); err != nil {
		return nil, api.Errorf(api.KindInvalid, "cannot read the Dockerfile %s: %w", filepath.Join(repo.Top(), b.Dockerfile), fsx.Cause(err))
	}
	if s.Context, err = contextDir(repo.Top(), b.Context); err != nil {
		return nil, api.Errorf(api.KindInvalid, "cannot use the context of the Dockerfile, %s: %w", filepath.Join(repo.Top(), b.Context), err)
	}
	if err := s.readIgnore(); err != nil {
		return nil, err
	}
	all, err := repo.Files(ctx, how)
	if err != nil {
		return nil, err
	}
	return s, s.choose(ctx, all)
}

// contextDir returns a context's directory without links: git lists files by the names that they have
// without any.
func contextDir(top, context string) (string, error) {
	root, err := os.OpenRoot(top)
	if err != nil {
		return "", err
	}
	defer root.Close()
	info, err := root.Stat(context) // refuses a link out of the workspace
	switch {
	case err != nil:
		return "", fsx.Cause(err)
	case !info.IsDir():
		return "", errors.New("it is not a directory")
	}
	real, err := filepath.EvalSymlinks(filepath.Join(top, context))
	if err == nil {
		real, err = filepath.Rel(top, real)
	}
	if err == nil && !filepath.IsLocal(real) {
		err = errors.New("it leads out of the workspace")
	}
	return real, err
}

// readIgnore reads the rules that count for the Dockerfile: those of a file of its own, or the context's.
func (s *Source) readIgnore() error {
	for _, name := range []string{s.Dockerfile + ignoreName, path.Join(s.Context, ignoreName)} {
		data, err := project.ReadFile(s.repo.Top(), name, maxIgnore)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return api.Errorf(api.KindInvalid, "cannot read %s: %w", filepath.Join(s.repo.Top(), name), err)
		}
		s.ignore = data
		return nil
	}
	return nil
}

// choose takes the files that belong to the context.
func (s *Source) choose(ctx context.Context, all []gitrepo.File) error {
	rules, err := ignorefile.ReadAll(strings.NewReader(string(s.ignore)))
	if err == nil && len(rules) > maxRules {
		err = errors.New("it has too many rules")
	}
	var ignored *patternmatcher.PatternMatcher
	if err == nil {
		ignored, err = patternmatcher.New(rules)
	}
	if err != nil {
		return api.Errorf(api.KindInvalid, "cannot use the %s of the Dockerfile %s: %w", ignoreName, s.Dockerfile, err)
	}
	for _, f := range all {
		if ctx.Err() != nil {
			return api.Errorf(api.KindCanceled, "cancelled: %w", context.Cause(ctx))
		}
		rel, inside := below(s.Context, f.Path)
		if !inside {
			continue
		}
		skip, err := ignored.MatchesOrParentMatches(rel)
		if err != nil {
			return api.Errorf(api.KindInvalid, "cannot use the %s of the Dockerfile %s: %w", ignoreName, s.Dockerfile, err)
		}
		if !skip {
			s.files = append(s.files, f)
		}
	}
	return nil
}

// below returns a path relative to a directory, if it is in it.
func below(dir, name string) (rel string, inside bool) {
	if dir == "." {
		return name, true
	}
	return strings.CutPrefix(name, dir+"/")
}

// pack writes the context as a tar stream, below prefix.
func (s *Source) pack(ctx context.Context, w io.Writer, prefix string, each func(string, int64)) error {
	return s.repo.WriteTar(ctx, w, s.files, gitrepo.TarOptions{Prefix: prefix, Each: each})
}
