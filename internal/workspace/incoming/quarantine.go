package incoming

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"banger/api"
)

// prefix is of the names of quarantines, which lie beside the repository's objects: what
// enters the repository is on its file system already. git prune removes directories with
// such names once they are old (prune_tmp_file in git's builtin/prune.c), and so does open.
const prefix = "tmp_objdir-banger-"

// abandoned is the age from which the quarantine of an import that was killed is removed.
const abandoned = 24 * time.Hour

// quarantine is a directory with objects that the repository does not have.
type quarantine struct {
	dir string
	env []string // git writes objects and the index to the quarantine
}

// open makes the quarantine.
func (i *importer) open(ctx context.Context) error {
	out, err := i.repo.Git(ctx, nil, nil, "rev-parse", "--git-path", "objects")
	if err != nil {
		return err
	}
	objects := strings.TrimSuffix(string(out), "\n")
	if !filepath.IsAbs(objects) {
		objects = filepath.Join(i.repo.Top(), objects)
	}
	removeAbandoned(objects)
	dir, err := os.MkdirTemp(objects, prefix)
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot write to the repository: %w", err)
	}
	i.quarantine = &quarantine{dir: dir}
	for _, name := range []string{"objects", "work", "raw", "rules"} {
		if err := os.Mkdir(i.quarantine.path(name), 0o700); err != nil {
			return errors.Join(err, os.RemoveAll(dir))
		}
	}
	i.quarantine.env = []string{
		"GIT_OBJECT_DIRECTORY=" + i.quarantine.path("objects"),
		"GIT_ALTERNATE_OBJECT_DIRECTORIES=" + quote(objects),
		"GIT_INDEX_FILE=" + i.quarantine.path("index"),
	}
	return nil
}

func (q *quarantine) path(names ...string) string {
	return filepath.Join(append([]string{q.dir}, names...)...)
}

func (q *quarantine) close() {
	if q != nil {
		_ = os.RemoveAll(q.dir)
	}
}

func removeAbandoned(objects string) {
	entries, _ := os.ReadDir(objects)
	for _, e := range entries {
		info, err := e.Info()
		if strings.HasPrefix(e.Name(), prefix) && err == nil && time.Since(info.ModTime()) > abandoned {
			_ = os.RemoveAll(filepath.Join(objects, e.Name()))
		}
	}
}

// quote quotes a path for git (unquote_c_style in git's quote.c): a colon separates
// alternates, and a newline paths.
func quote(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(path) + `"`
}

// private are settings for commands that use the quarantine's index: git puts nothing beside
// the user's index, and takes a file's mode and content as they are there.
var private = []string{
	"-c", "core.splitIndex=false", "-c", "index.sparse=false", "-c", "core.untrackedCache=false",
	"-c", "core.fileMode=true", "-c", "core.safecrlf=false", "-c", "core.ignoreCase=false",
}

// git runs a command with the quarantine's objects and index.
func (i *importer) git(ctx context.Context, input string, args ...string) ([]byte, error) {
	all := append(append([]string{}, private...), args...)
	return i.repo.Git(ctx, i.quarantine.env, strings.NewReader(input), all...)
}
