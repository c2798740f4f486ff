package image

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/host/apt"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/internal/host/userns"
)

// Pull gets an image: that of the host's own distribution is built from its packages,
// unless there is a current one; others come from registries.
func (c *Cache) Pull(ctx context.Context, req api.PullImage, report api.Report) (api.Image, error) {
	meant, err := c.resolveShortName(req.Name)
	if err != nil {
		return api.Image{}, err
	}
	if meant != c.host.image() {
		return c.pullReference(ctx, meant, report)
	}
	name, recipe := c.host.image(), recipeDigest(c.host)
	if i, m, ok := c.named(name); ok && !req.Refresh && m.Recipe == recipe && c.isComplete(strings.TrimPrefix(i.Digest, "sha256:")) {
		return i, nil
	}
	err = c.flights.Do(ctx, "pull "+name, report, func(ctx context.Context, report api.Report) error {
		if err := c.build(ctx, name, req.Refresh, report); err != nil {
			return api.Errorf(api.KindOf(err), "cannot build image %s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return api.Image{}, err
	}
	return c.Get(name)
}

// buildBytes is the temporary space that a build needs: the tree and the file system
// made from it (282 MiB each on Debian 12), the packages, and a reserve.
const buildBytes = 900 * mib

// build builds the image of the host's distribution.
func (c *Cache) build(ctx context.Context, name string, refresh bool, report api.Report) error {
	if _, err := execx.LookPath("mmdebstrap", "mmdebstrap"); err != nil {
		return err
	}
	if err := userns.Check(ctx); err != nil {
		return err
	}
	if err := fsx.NeedSpace(c.staging, buildBytes); err != nil {
		return err
	}
	if err := c.apt.Update(ctx, refresh, report); err != nil {
		return err
	}
	sources, err := c.apt.Sources(ctx)
	if err != nil {
		return err
	}
	options, err := c.apt.AcquireOptions(ctx)
	if err != nil {
		return err
	}
	sources = slices.DeleteFunc(sources, func(s apt.Source) bool { return strings.HasPrefix(s.URI, "cdrom:") })
	m := &meta{Source: "packages of " + name + " " + c.host.codename, Recipe: recipeDigest(c.host)}
	overall := scaleProgress(report)
	_, err = c.add(ctx, []string{name}, m, overall, func(root string) error {
		return bootstrap(ctx, root, name, sources, options, overall)
	})
	return err
}

// bootstrap fills root. The directory beside it holds files for apt.
func bootstrap(ctx context.Context, root, name string, sources []apt.Source, options []string, report api.Report) error {
	list, conf := filepath.Join(filepath.Dir(root), name+".sources"), filepath.Join(filepath.Dir(root), "apt.conf")
	// In a user namespace apt's own user may not enter banger's directories.
	options = append(options, `APT::Sandbox::User "root";`)
	for file, text := range map[string]string{list: apt.Deb822(sources), conf: strings.Join(options, "\n") + "\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return fsx.DiskError("build image", err)
		}
	}
	args := []string{root, name, suite(sources), list, conf}
	_, err := job(ctx, report, userns.Call{Job: jobBootstrap, Args: append(args, keyrings(sources)...)})
	return err
}

// suite returns the name of the release among suites such as bookworm-updates.
func suite(sources []apt.Source) string {
	shortest := ""
	for _, s := range sources {
		if shortest == "" || len(s.Suite) < len(shortest) {
			shortest = s.Suite
		}
	}
	return shortest
}

// keyrings returns the files with the keys that sources are signed by.
func keyrings(sources []apt.Source) []string {
	var files []string
	for _, s := range sources {
		for _, word := range strings.FieldsFunc(s.SignedBy, func(r rune) bool { return r == ',' || r == ' ' }) {
			if filepath.IsAbs(word) && !slices.Contains(files, word) {
				files = append(files, word)
			}
		}
	}
	return files
}
