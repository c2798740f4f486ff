package worktest

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Write writes a file below dir; in content, a leading "-> " makes a symbolic link and "#!" a
// program.
func Write(t testing.TB, dir, name, content string) {
	t.Helper()
	place := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		t.Fatal(err)
	}
	target, link := strings.CutPrefix(content, "-> ")
	mode := os.FileMode(0o644)
	if strings.HasPrefix(content, "#!") {
		mode = 0o755
	}
	if err := os.Remove(place); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var err error
	if link {
		err = os.Symlink(target, place)
	} else {
		err = os.WriteFile(place, []byte(content), mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Files returns what is below dir, by path, in the form of Write; those named in without
// are left out.
func Files(t testing.TB, dir string, without ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(place string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, place)
		for _, w := range without {
			switch {
			case name == w && d.IsDir():
				return filepath.SkipDir
			case name == w: // the .git of a linked work tree
				return nil
			}
		}
		switch {
		case d.IsDir():
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(place)
			all[name] = "-> " + target
			return err
		default:
			data, err := os.ReadFile(place)
			all[name] = string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Untouched remembers all that belongs to the user in a repository, and returns a function
// that fails the test if one byte of it has changed: everything except objects, which may be
// added, and refs/banger.
func (r *Repo) Untouched(t testing.TB) func() {
	t.Helper()
	take := func() map[string]string {
		all := map[string]string{}
		for name, content := range Files(t, filepath.Join(r.Dir, ".git"), "objects", "refs/banger", "logs/refs/banger") {
			all[".git/"+name] = fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
		}
		return all
	}
	before := take()
	return func() {
		t.Helper()
		after := take()
		for name, sum := range before {
			if after[name] != sum {
				t.Errorf("%s was changed", name)
			}
		}
		for name := range after {
			if _, old := before[name]; !old {
				t.Errorf("%s was added", name)
			}
		}
	}
}
