package dist

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"banger/api"
)

// Installer returns scripts/install.sh with this release written into it.
func Installer(source, version, download string) ([]byte, error) {
	script, err := os.ReadFile(filepath.Join(source, "scripts", "install.sh"))
	if err != nil {
		return nil, api.AsError(err)
	}
	for line, value := range map[string]string{"release_version": version, "release_from": download} {
		empty := []byte("\n" + line + "=''\n")
		if bytes.Count(script, empty) != 1 {
			return nil, api.Errorf(api.KindInternal, "cannot write the installer: scripts/install.sh has no place for %s", line)
		}
		script = bytes.Replace(script, empty, fmt.Appendf(nil, "\n%s='%s'\n", line, value), 1)
	}
	return script, nil
}
