package dist

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"banger/api"
)

// tree returns the paths of a package's files, by the Filesystem Hierarchy Standard
// 3.0: programs that users do not call are in /usr/lib (4.7), manuals and documentation
// in /usr/share (4.11).
func tree(source string, programs []File) ([]File, error) {
	var files []File
	for _, p := range programs {
		files = append(files, File{Name: "/usr/lib/banger/" + p.Name, Mode: 0o755, Data: p.Data})
	}
	for _, name := range []string{"banger", "git-remote-banger"} { // the other is git's name for it
		files = append(files, File{Name: "/usr/bin/" + name, Mode: 0o777, Link: "../lib/banger/banger"})
	}
	for name, to := range map[string]string{"LICENSE": "copyright", "README.md": "README.md", "CHANGELOG.md": "CHANGELOG.md"} {
		data, err := os.ReadFile(filepath.Join(source, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, api.AsError(err)
		}
		files = append(files, File{Name: "/usr/share/doc/banger/" + to, Mode: 0o644, Data: data})
	}
	manuals, err := filepath.Glob(filepath.Join(source, "docs", "man", "*.1"))
	if err != nil {
		return nil, err
	}
	for _, path := range manuals {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, api.AsError(err)
		}
		if data, err = gzipped(data); err != nil {
			return nil, err
		}
		files = append(files, File{Name: "/usr/share/man/man1/" + filepath.Base(path) + ".gz", Mode: 0o644, Data: data})
	}
	return files, nil
}

// packageVersion formats a version so that dpkg and rpm sort it correctly: "~" sorts
// before the end (deb-version(7), rpm-version(7)), and neither accepts another hyphen.
func packageVersion(v string) string {
	number, pre, found := strings.Cut(strings.TrimPrefix(v, "v"), "-")
	if !found {
		return number
	}
	return number + "~" + strings.ReplaceAll(pre, "-", ".")
}
