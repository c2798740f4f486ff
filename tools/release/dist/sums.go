package dist

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"banger/api"
	"banger/internal/host/fsx"
)

// SumsName is the file with the checksums of all others, in the format of sha256sum(1).
const SumsName = "SHA256SUMS"

func writeSums(dir string) error {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return api.AsError(err)
	}
	var out bytes.Buffer
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return api.AsError(err)
		}
		fmt.Fprintf(&out, "%x  %s\n", sha256.Sum256(data), e.Name())
	}
	return fsx.DiskError("write "+SumsName, os.WriteFile(filepath.Join(dir, SumsName), out.Bytes(), 0o644))
}

var sumLine = regexp.MustCompile(`^([0-9a-f]{64})  ([0-9A-Za-z_.~-]+)$`)

// readSums returns the checksum of each file of a release.
func readSums(dir string) (map[string]string, error) {
	data, err := os.ReadFile(filepath.Join(dir, SumsName))
	if err != nil {
		return nil, api.Errorf(api.KindNotFound, "cannot read release %s: %w", dir, err).WithHint("make release VERSION=vX.Y.Z")
	}
	sums := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		m := sumLine.FindStringSubmatch(lines.Text())
		if m == nil {
			return nil, api.Errorf(api.KindInvalid, "cannot read release %s: its %s has a line %q", dir, SumsName, lines.Text())
		}
		sums[m[2]] = m[1]
	}
	return sums, lines.Err()
}

// readSummed reads a file and compares its checksum.
func readSummed(dir, name string, sums map[string]string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, api.AsError(err)
	}
	sum := sha256.Sum256(data)
	if want := sums[name]; hex.EncodeToString(sum[:]) != want {
		return nil, api.Errorf(api.KindInvalid, "cannot read release %s: the checksum of %s differs from %s", dir, name, SumsName).
			WithHint("make release VERSION=vX.Y.Z   builds it again")
	}
	return data, nil
}
