package kernel

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/digeststore"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
)

// unpackedFactor is the approximate maximum ratio of an unpacked kernel to its package:
// 27 MB of Debian's cloud kernel unpack to 106 MB.
const unpackedFactor = 5

// Pull gets the distribution's kernel for virtual machines and makes it the default.
// Without Refresh, a kernel that was pulled before is used, unless an older banger
// stored fewer files of it. Callers that come during a pull wait for it and get its
// result.
func (c *Cache) Pull(ctx context.Context, req api.PullKernel, report api.Report) (api.Kernel, error) {
	if req.Release != "" {
		return c.pullRelease(ctx, req, report)
	}
	before := c.pulled()
	if err := acquire(ctx, c.pulling); err != nil {
		return api.Kernel{}, err
	}
	defer func() { <-c.pulling }()
	// It was there already, or another call pulled it in the meantime.
	if now := c.pulled(); now != "" && (!req.Refresh || now != before) {
		if !c.outdated(now) {
			return c.Get(now)
		}
		report(api.Progress{Step: "kernel", Message: "the kernel was pulled by an older banger, which stored fewer modules: pulling it again"})
	}
	if err := pullable(); err != nil {
		return api.Kernel{}, err
	}
	report(api.Progress{Step: "kernel", Message: "searching the distribution's kernel"})
	if err := c.apt.Update(ctx, req.Refresh, report); err != nil {
		return api.Kernel{}, err
	}
	packages, err := c.packages(ctx)
	if err != nil {
		return api.Kernel{}, err
	}
	// Even then a refresh downloads the package: a rebuild with a security fix may have
	// the same name. An unchanged kernel has the same digest.
	if hex := c.fromPackage(packages[0]); hex != "" && !req.Refresh {
		l := c.store.Lock()
		defer l.Unlock()
		return withNames(l.Name(hex, DefaultName))
	}
	return c.pull(ctx, packages, []string{DefaultName}, report)
}

func pullable() error {
	if runtime.GOARCH != "amd64" {
		return api.Errorf(api.KindUnsupported, "cannot pull a kernel for %s: microVMs are x86-64 only", runtime.GOARCH)
	}
	return nil
}

// pullRelease gets the kernel of a release, which is named by it.
func (c *Cache) pullRelease(ctx context.Context, req api.PullKernel, report api.Report) (api.Kernel, error) {
	if !validRelease(req.Release) {
		return api.Kernel{}, api.Errorf(api.KindInvalid, "%.80q is not a valid release of a kernel", req.Release).WithHint("banger kernel list --available")
	}
	if err := pullable(); err != nil {
		return api.Kernel{}, err
	}
	if err := acquire(ctx, c.pulling); err != nil {
		return api.Kernel{}, err
	}
	defer func() { <-c.pulling }()
	report(api.Progress{Step: "kernel", Message: "searching kernel " + req.Release})
	if err := c.apt.Update(ctx, req.Refresh, report); err != nil {
		return api.Kernel{}, err
	}
	found, err := c.Available(ctx, false)
	if err != nil {
		return api.Kernel{}, err
	}
	i := slices.IndexFunc(found.Kernels, func(k api.AvailableKernel) bool { return k.Release == req.Release })
	if i < 0 {
		return api.Kernel{}, api.Errorf(api.KindNotFound, "this host's package sources have no kernel %s for virtual machines", req.Release).
			WithHint("banger kernel list --available")
	}
	if hex := c.fromPackage(found.Kernels[i].Package); hex != "" && !req.Refresh && !found.Kernels[i].Outdated {
		l := c.store.Lock()
		defer l.Unlock()
		return withNames(l.Name(hex, req.Release))
	}
	packages, err := c.withModules(ctx, found.Kernels[i].Package)
	if err != nil {
		return api.Kernel{}, err
	}
	return c.pull(ctx, packages, []string{req.Release}, report)
}

// pulled returns the digest of the default kernel, or "".
func (c *Cache) pulled() string {
	k, err := c.Default()
	if err != nil {
		return ""
	}
	return k.Digest
}

// outdated reports whether a kernel was pulled by older rules. An imported kernel is
// never outdated: its files are the user's choice.
func (c *Cache) outdated(digest string) bool {
	l := c.store.Lock()
	defer l.Unlock()
	m, err := c.meta(digeststore.Hex(digest))
	return err == nil && m.Package != "" && m.Extraction < extraction
}

// fromPackage returns a kernel that came from the package of that name, by the current
// rules.
func (c *Cache) fromPackage(name string) string {
	l := c.store.Lock()
	defer l.Unlock()
	entries, err := l.List()
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if m, err := c.meta(e.Hex); err == nil && m.Package == name && m.Extraction == extraction {
			return e.Hex
		}
	}
	return ""
}

var (
	imagePackage   = regexp.MustCompile(`^linux-image-(unsigned-)?[0-9]`)
	modulesPackage = regexp.MustCompile(`^linux-(modules|binary|image)[a-z-]*-[0-9]`)
)

// metaPackage is the package that always depends on the newest kernel.
func metaPackage(origin string) string {
	if origin == "Ubuntu" {
		return "linux-image-virtual"
	}
	return "linux-image-cloud-" + runtime.GOARCH
}

// packages returns the versioned kernel package and the packages of its modules, which
// newer distributions split off.
func (c *Cache) packages(ctx context.Context) ([]string, error) {
	sources, err := c.apt.Sources(ctx)
	if err != nil {
		return nil, err
	}
	name := metaPackage(sources[0].Origin)
	depends, err := c.apt.Depends(ctx, name)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(depends, imagePackage.MatchString)
	if i < 0 {
		return nil, api.Errorf(api.KindUnsupported, "package %s does not depend on a kernel (%s)", name, strings.Join(depends, ", ")).
			WithHint("banger kernel import --host")
	}
	return c.withModules(ctx, depends[i])
}

// withModules returns a kernel's package and those of its modules.
func (c *Cache) withModules(ctx context.Context, kernel string) ([]string, error) {
	packages := []string{kernel}
	more, err := c.apt.Depends(ctx, kernel)
	if err != nil {
		return nil, err
	}
	for _, dep := range more {
		if modulesPackage.MatchString(dep) && !slices.Contains(packages, dep) {
			packages = append(packages, dep)
		}
	}
	return packages, nil
}

func (c *Cache) pull(ctx context.Context, packages, names []string, report api.Report) (api.Kernel, error) {
	dir, err := c.store.Stage()
	if err != nil {
		return api.Kernel{}, err
	}
	defer os.RemoveAll(dir)
	debs, err := c.apt.Download(ctx, packages, dir, asKernel(report))
	if err != nil {
		return api.Kernel{}, err
	}
	root := filepath.Join(dir, "root")
	for _, deb := range debs {
		if err := unpack(ctx, deb, root, report); err != nil {
			return api.Kernel{}, err
		}
	}
	s, err := findKernel(root)
	if err != nil {
		return api.Kernel{}, api.Errorf(api.KindInternal, "cannot use package %s: %w", packages[0], err)
	}
	s.names = names
	s.meta = meta{Source: "package " + strings.TrimSuffix(filepath.Base(debs[0]), ".deb"), Package: packages[0]}
	return c.add(ctx, s, report)
}

// asKernel reports apt's progress as that of the step "kernel".
func asKernel(report api.Report) api.Report {
	return func(p api.Progress) {
		p.Step = "kernel"
		report(p)
	}
}

func unpack(ctx context.Context, deb, root string, report api.Report) error {
	report(api.Progress{Step: "kernel", Message: "unpacking " + filepath.Base(deb)})
	info, err := os.Stat(deb)
	if err != nil {
		return err
	}
	if err := fsx.NeedSpace(filepath.Dir(deb), info.Size()*unpackedFactor); err != nil {
		return err
	}
	return execx.Run(ctx, execx.Cmd{Name: "dpkg-deb", Args: []string{"-x", deb, root}, Package: "dpkg"})
}

// findKernel finds the kernel and its modules in an unpacked package.
func findKernel(root string) (source, error) {
	var s source
	kernel, err := glob(root, "boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz", "lib/modules/*/vmlinuz")
	if err != nil {
		return s, err
	}
	builtin, err := glob(root, "lib/modules/*/modules.builtin", "usr/lib/modules/*/modules.builtin")
	if err != nil {
		return s, err
	}
	return source{kernel: kernel, modules: filepath.Dir(builtin)}, nil
}

func glob(root string, patterns ...string) (string, error) {
	for _, pattern := range patterns {
		if found, _ := filepath.Glob(filepath.Join(root, pattern)); len(found) > 0 {
			return found[0], nil
		}
	}
	return "", api.Errorf(api.KindUnsupported, "it has no %s", strings.Join(patterns, " or ")).
		WithHint("banger kernel import --host")
}
