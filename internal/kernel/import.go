package kernel

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
)

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// Import adds a kernel from files on this host. It becomes the default if there is
// none.
func (c *Cache) Import(ctx context.Context, req api.ImportKernel, report api.Report) (api.Kernel, error) {
	s, err := c.importSource(req)
	if err != nil {
		return api.Kernel{}, err
	}
	if req.Name != "" {
		if !namePattern.MatchString(req.Name) {
			return api.Kernel{}, api.Errorf(api.KindInvalid, "kernel name %q is not valid: use a-z, 0-9, dot, dash and underscore", req.Name).
				WithHint("choose a name such as mykernel")
		}
		s.names = []string{req.Name}
	}
	s.prove = true
	return c.add(ctx, s, report)
}

func (c *Cache) importSource(req api.ImportKernel) (source, error) {
	switch {
	case req.Host && (req.Path != "" || req.Modules != ""):
		return source{}, api.Errorf(api.KindInvalid, "--host cannot be combined with files")
	case req.Host:
		return hostKernel()
	case !filepath.IsAbs(req.Path) || (req.Modules != "" && !filepath.IsAbs(req.Modules)):
		return source{}, api.Errorf(api.KindInvalid, "the kernel's path %q or that of its modules %q is not absolute", req.Path, req.Modules).
			WithHint("banger kernel import FILE --modules DIRECTORY, or banger kernel import --host")
	}
	s := source{kernel: req.Path, modules: req.Modules, meta: meta{Source: req.Path, ModulesDir: req.Modules}}
	if req.Modules != "" {
		return s, nil
	}
	// A kernel of this host's distribution has its modules at the usual place.
	data, err := readFile(req.Path)
	if err != nil {
		return s, readError(err)
	}
	if v, err := extract(data); err == nil && v.release != "" {
		if dir := "/lib/modules/" + v.release; isDir(dir) {
			s.modules, s.meta.ModulesDir = dir, dir
		}
	}
	return s, nil
}

// hostKernel finds the running kernel's file and modules.
func hostKernel() (source, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return source{}, api.Errorf(api.KindInternal, "cannot read the running kernel's release: %w", err)
	}
	return findHostKernel("/", unix.ByteSliceToString(name.Release[:]))
}

// findHostKernel searches the places of the distributions: /boot for Debian and SUSE,
// beside the modules for Fedora and Arch (kernel-install(8)), and a fixed name for
// Arch.
func findHostKernel(root, release string) (source, error) {
	places := []string{
		"boot/vmlinuz-" + release, "lib/modules/" + release + "/vmlinuz",
		"usr/lib/modules/" + release + "/vmlinuz", "boot/vmlinuz", "boot/vmlinuz-linux",
	}
	modules := filepath.Join(root, "lib/modules", release)
	var tried []string
	for _, place := range places {
		path := filepath.Join(root, place)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			tried = append(tried, path)
			continue
		}
		s := source{kernel: path, meta: meta{Source: "this host, " + path}}
		if isDir(modules) {
			s.modules, s.meta.ModulesDir = modules, modules
		}
		return s, nil
	}
	return source{}, api.Errorf(api.KindNotFound, "cannot find the running kernel %s: looked for %s", release, strings.Join(tried, ", ")).
		WithHint("a container runs the host's kernel: import a kernel from files with banger kernel import FILE --modules DIRECTORY")
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
