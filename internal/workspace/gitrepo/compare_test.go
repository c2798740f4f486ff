package gitrepo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fingerprint is everything of a work tree and its repository but objects and our references:
// contents, modes, and times of change.
func fingerprint(t testing.TB, top string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(top, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(top, file)
		inGit := slices.Contains(strings.Split(name, "/"), ".git")
		if inGit && d.IsDir() && (d.Name() == "objects" || d.Name() == "banger" || d.Name() == "lfs") {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(file)
			must(t, err)
			text += fmt.Sprintf(" %x", sha256.Sum256(data))
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(file)
			text += " " + target
		}
		// A directory that we make a reference in changes, and git itself marks a shared index as
		// used when it reads it.
		if !d.IsDir() && !strings.HasPrefix(d.Name(), "sharedindex.") {
			text += " " + info.ModTime().Format(time.RFC3339Nano)
		}
		all[name] = text
		return nil
	}))
	return all
}

// unchanged runs do, after which what is the user's has to be as before.
func unchanged(t testing.TB, top, what string, do func()) {
	t.Helper()
	before := fingerprint(t, top)
	do()
	after := fingerprint(t, top)
	for name := range before {
		if before[name] != after[name] {
			t.Errorf("%s changed %s: %s, was %s", what, name, after[name], before[name])
		}
	}
	for name, text := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("%s made %s: %s", what, name, text)
		}
	}
}

// ship writes what ships of a repository into a directory, with its .git, and returns what the
// stream had of the work tree.
func ship(t testing.TB, r *Repo, o Select, g GitOptions) (string, contents) {
	t.Helper()
	files, err := r.Files(context.Background(), o)
	must(t, err)
	fresh, into := t.TempDir(), filepath.Join(t.TempDir(), "guest")
	must(t, os.Mkdir(into, 0o755))
	must(t, r.BuildGit(t.Context(), fresh, g))
	var stream bytes.Buffer
	must(t, r.WriteTar(t.Context(), &stream, files, TarOptions{Extra: []string{fresh}, Note: func(name, what string) { t.Errorf("%s %s", name, what) }}))
	all := inTar(t, &stream, into)
	for name := range all {
		if slices.Contains(strings.Split(name, "/"), ".git") {
			delete(all, name)
		}
	}
	return into, all
}

// status are the paths that git takes for changed, without what is staged of it.
func status(t testing.TB, dir string) []string {
	t.Helper()
	var names []string
	for _, entry := range zeros([]byte(git(t, dir, "-c", "core.fsmonitor=false", "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all"))) {
		names = append(names, entry[3:])
	}
	slices.Sort(names)
	return slices.Compact(names)
}
