package kernel

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/host/apt"
)

// Available returns the kernels for virtual machines that the package lists of this host name, newest first,
// and which of them the cache has. Unless refresh is set, it asks no server: the lists are as old as it says.
func (c *Cache) Available(ctx context.Context, refresh bool) (api.AvailableKernels, error) {
	var found api.AvailableKernels
	if refresh {
		if err := c.apt.Update(ctx, true, func(api.Progress) {}); err != nil {
			return found, err
		}
	}
	fetched, err := c.apt.Lists()
	if err != nil {
		return found, err
	}
	found.ListsFetchedAt = fetched
	pulled, err := c.packages(ctx)
	if err != nil {
		return found, err
	}
	names, err := c.apt.Names(ctx, "linux-image-")
	if err != nil {
		return found, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !imagePackage.MatchString(name) || flavor(name) != flavor(pulled[0]) })
	packages, err := c.apt.Packages(ctx, names)
	if err != nil {
		return found, err
	}
	packages = slices.DeleteFunc(packages, func(p apt.Package) bool { return slices.ContainsFunc(p.Depends, imagePackage.MatchString) }) // it only names the newest
	slices.SortFunc(packages, func(a, b apt.Package) int { return compareVersions(b.Name, a.Name) })
	here, err := c.ofPackages()
	if err != nil {
		return found, err
	}
	for _, p := range packages {
		k := api.AvailableKernel{
			Release: releaseOf(p.Name), Package: p.Name, Version: p.Version, SizeBytes: p.Bytes, Default: p.Name == pulled[0],
		}
		if m, ok := here[p.Name]; ok {
			k.Digest, k.Outdated = m.digest, !strings.HasPrefix(m.source, "package "+p.Name+"_"+fileVersion(p.Version)+"_")
		}
		found.Kernels = append(found.Kernels, k)
	}
	return found, nil
}

// packaged is a kernel that came from a package.
type packaged struct{ digest, source string }

// ofPackages returns the newest kernel of each package that one was pulled from.
func (c *Cache) ofPackages() (map[string]packaged, error) {
	l := c.store.Lock()
	defer l.Unlock()
	entries, err := l.List()
	if err != nil {
		return nil, err
	}
	here := map[string]packaged{}
	for _, e := range entries { // oldest first
		if m, err := c.meta(e.Hex); err == nil && m.Package != "" {
			here[m.Package] = packaged{e.Digest(), m.Source}
		}
	}
	return here, nil
}

// fileVersion returns a version as it is in the name of a package's file: apt writes the colon of an epoch as
// %3a.
func fileVersion(version string) string { return strings.ReplaceAll(version, ":", "%3a") }

var packagePrefix = regexp.MustCompile(`^linux-image-(unsigned-)?`)

// releaseOf returns the release of the kernel in a package.
func releaseOf(name string) string { return packagePrefix.ReplaceAllString(name, "") }

// flavor returns what follows the version in the name of a kernel's package, such as cloud-amd64, with the prefix:
// kernels of one flavor differ by their version only.
func flavor(name string) string {
	prefix, words := packagePrefix.FindString(name), strings.Split(releaseOf(name), "-")
	for len(words) > 0 && words[0] != "" && words[0][0] >= '0' && words[0][0] <= '9' {
		words = words[1:]
	}
	return prefix + strings.Join(words, "-")
}

// compareVersions compares names that differ by the numbers in them, as 6.1.0-9 and 6.1.0-38.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x == 0 || y == 0 {
			if a[0] != b[0] {
				return strings.Compare(a, b)
			}
			a, b = a[1:], b[1:]
			continue
		}
		p, q := strings.TrimLeft(a[:x], "0"), strings.TrimLeft(b[:y], "0")
		if len(p) != len(q) {
			return len(p) - len(q)
		}
		if p != q {
			return strings.Compare(p, q)
		}
		a, b = a[x:], b[y:]
	}
	return len(a) - len(b)
}

// digits returns how many digits a text begins with.
func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }
