package dist

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"banger/api"
)

// Rebuild builds a release again, from a clone of a checkout that contains its commit,
// in another directory and without earlier results, and compares it.
func Rebuild(ctx context.Context, checkout, released string, report func(string)) error {
	sums, err := readSums(released)
	if err != nil {
		return err
	}
	record, root, err := readInputs(released, sums)
	if err != nil {
		return err
	}
	if record.Go != runtime.Version() {
		return api.Errorf(api.KindUnsupported, "cannot make release %s again: it was built by %s, but this is %s", record.Version, record.Go, runtime.Version()).
			WithHint("GOTOOLCHAIN=%s make release-check VERSION=%s", record.Go, record.Version)
	}
	work, err := os.MkdirTemp("", "banger-rebuild-")
	if err != nil {
		return api.AsError(err)
	}
	defer os.RemoveAll(work)
	report("cloning commit " + record.Commit)
	source, err := Source{Dir: checkout, Version: record.Version, Commit: record.Commit}.Clone(ctx, filepath.Join(work, "source"))
	if err != nil {
		return err
	}
	again := filepath.Join(work, "again")
	err = Build(ctx, Options{
		Source: source, Root: root, Repository: record.Repository, Download: record.Download,
		Out: again, GoCache: filepath.Join(work, "cache"), Report: report,
	})
	if err != nil {
		return err
	}
	return compare(released, again, sums)
}

// readInputs returns what a release was built from.
func readInputs(dir string, sums map[string]string) (r Record, root []byte, err error) {
	data, err := readSummed(dir, recordName, sums)
	if err != nil {
		return r, nil, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, nil, api.Errorf(api.KindInvalid, "cannot read release %s: its %s: %w", dir, recordName, err)
	}
	if _, has := sums[rootName]; has {
		root, err = readSummed(dir, rootName, sums)
	}
	return r, root, err
}

// compare requires the same files with the same bytes. It reads the files of the
// release instead of trusting its checksums.
func compare(released, again string, sums map[string]string) error {
	built, err := readSums(again)
	if err != nil {
		return err
	}
	names := maps.Clone(sums)
	maps.Copy(names, built)
	var different []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		_, err := readSummed(released, name, built)
		if err != nil && !errors.Is(err, os.ErrNotExist) && api.KindOf(err) != api.KindInvalid {
			return err
		}
		if err != nil {
			different = append(different, name)
		}
	}
	if len(different) > 0 {
		return api.Errorf(api.KindConflict, "%s differs from a build of this source: %s", released, strings.Join(different, ", "))
	}
	return nil
}
