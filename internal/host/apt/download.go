package apt

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
)

// archive is one package file to fetch.
type archive struct {
	name string // of the file
	size int64
}

// retryAfter is the age from which lists may name files that are gone.
const retryAfter = 10 * time.Minute

// Download fetches the candidate versions of exactly the named packages into
// dir, and returns the paths of the files. Their hashes are checked against
// the signed lists. Lists that turn out to be stale are fetched again once.
func (a *Apt) Download(ctx context.Context, packages []string, dir string, report api.Report) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	debs, err := a.download(ctx, packages, dir, report)
	if err == nil || ctx.Err() != nil || api.KindOf(err) == api.KindNoSpace || a.age() < retryAfter {
		return debs, err
	}
	if err := a.update(ctx, report); err != nil {
		return nil, err
	}
	return a.download(ctx, packages, dir, report)
}

func (a *Apt) download(ctx context.Context, packages []string, dir string, report api.Report) ([]string, error) {
	list := strings.Join(packages, ", ")
	out, err := a.output(ctx, "apt-get", append([]string{"-qq", "--print-uris", "download"}, packages...)...)
	if err != nil {
		return nil, fetchError("cannot find packages "+list, err)
	}
	archives, err := parseURIs(out)
	if err != nil {
		return nil, err
	}
	p := &progress{report: report, step: "packages", message: "downloading " + list}
	for _, file := range archives {
		p.total += file.size
	}
	if err := fsx.NeedSpace(dir, p.total); err != nil {
		return nil, err
	}
	if err := a.fetch(ctx, dir, p, append([]string{"download"}, packages...)...); err != nil {
		return nil, fetchError("cannot download "+list, err)
	}
	debs := make([]string, len(archives))
	for i, file := range archives {
		debs[i] = filepath.Join(dir, file.name)
	}
	return debs, nil
}

// parseURIs reads what apt-get --print-uris prints: 'URI' FILE SIZE HASH.
func parseURIs(out string) ([]archive, error) {
	var archives []archive
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "'") {
			continue // a remark
		}
		field := strings.Fields(line)
		if len(field) < 3 {
			return nil, fmt.Errorf("apt-get printed an address it should not: %q", line)
		}
		size, err := strconv.ParseInt(field[2], 10, 64)
		if err != nil || size < 0 || field[1] != filepath.Base(field[1]) || field[1] == ".." || field[1] == "." {
			return nil, fmt.Errorf("apt-get printed an address it should not: %q", line)
		}
		archives = append(archives, archive{name: field[1], size: size})
	}
	if len(archives) == 0 {
		return nil, fmt.Errorf("apt-get knows no address for the packages")
	}
	return archives, nil
}
