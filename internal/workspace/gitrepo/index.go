package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/host/fsx"
)

// packed is how many files git puts into one pack. For each it looks at all that are in it.
const packed = 10000

// add adds the files to an index, and their contents to the objects.
func (s *scan) add(ctx context.Context, env []string, pack bool) error {
	// Unlike git add this takes files of nested repositories, unmerged paths, and paths outside of
	// a sparse checkout.
	args := []string{"update-index", "--add", "--remove", "--replace", "-z", "--stdin"}
	size := max(1, len(s.files))
	if pack {
		args, size = slices.Concat([]string{"-c", "core.bigFileThreshold=1"}, args), packed
	}
	for files := range slices.Chunk(s.files, size) {
		var names bytes.Buffer
		for _, f := range files {
			names.WriteString(f.Path + "\x00")
		}
		if _, err := s.repo.Git(ctx, env, &names, args...); err != nil {
			return err
		}
	}
	return nil
}

// prepare removes from the index what is not there as it says, and sets the submodules' commits.
func (s *snapshot) prepare(ctx context.Context, list *scan, env []string) error {
	dropped, err := list.stale(ctx, env)
	if err != nil {
		return err
	}
	var info bytes.Buffer
	for _, name := range dropped {
		fmt.Fprintf(&info, "0 %s\t%s\x00", list.repo.zero(), name)
	}
	for _, m := range list.modules {
		c, err := s.take(ctx, m.repo, path.Join(list.prefix, m.path))
		if err != nil {
			return fmt.Errorf("submodule %s: %w", m.path, err)
		}
		fmt.Fprintf(&info, "%s %s\t%s\x00", modeModule, c.ID, m.path)
	}
	if info.Len() == 0 {
		return nil
	}
	_, err = list.repo.Git(ctx, env, &info, "update-index", "-z", "--index-info")
	return err
}

// zero is the id of no object.
func (r *Repo) zero() string {
	if r.format == "sha256" {
		return strings.Repeat("0", 64)
	}
	return strings.Repeat("0", 40)
}

// copyIndex copies an index, with its time: git looks into files that are not older than the
// index, as they may have changed after they were compared (racy-git in git's technical
// documentation).
func copyIndex(from, to string) error {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return api.Errorf(api.KindDenied, "cannot read git's index: %w", err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = out.ReadFrom(in)
	if err = errors.Join(err, out.Close()); err != nil {
		return fsx.DiskError("copy git's index", err)
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}
