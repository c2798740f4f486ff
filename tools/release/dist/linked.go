package dist

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime/debug"

	"banger/api"
	"banger/internal/update/release"
)

// Linked is a program with the build information that the Go tool wrote into it.
type Linked struct {
	Program, Arch string
	SHA256        string
	Go            string
	Modules       []debug.Module
}

func readLinked(dir, arch string) ([]Linked, error) {
	var all []Linked
	for _, name := range release.Programs {
		path := filepath.Join(dir, name)
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return nil, api.Errorf(api.KindInternal, "cannot read the build information of %s: %w", name, err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, api.AsError(err)
		}
		sum := sha256.Sum256(data)
		l := Linked{Program: name, Arch: arch, SHA256: hex.EncodeToString(sum[:]), Go: info.GoVersion}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			l.Modules = append(l.Modules, debug.Module{Path: m.Path, Version: m.Version, Sum: m.Sum})
		}
		all = append(all, l)
	}
	return all, nil
}
