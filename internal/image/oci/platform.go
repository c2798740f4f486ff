package oci

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"banger/api"
)

// guestOS is the operating system of guests.
const guestOS = "linux"

// normal converts a platform to the names in GOOS and GOARCH, as containerd's platforms
// package does (https://github.com/containerd/platforms/blob/main/database.go).
func normal(os, arch, variant string) (string, string, string) {
	os, arch, variant = strings.ToLower(os), strings.ToLower(arch), strings.ToLower(variant)
	switch arch {
	case "x86_64", "x86-64":
		arch = "amd64"
	case "aarch64":
		arch = "arm64"
	case "i386", "i686":
		arch = "386"
	case "armhf", "armel":
		arch, variant = "arm", map[string]string{"armhf": "v7", "armel": "v6"}[arch]
	}
	if variant != "" && strings.Trim(variant, "0123456789") == "" {
		variant = "v" + variant
	}
	return os, arch, variant
}

// Fits refuses an image that was not made for guests of arch.
func (i Image) Fits(arch string) error {
	if (i.OS == "" || i.OS == guestOS) && (i.Arch == "" || i.Arch == arch) {
		return nil
	}
	return misfit([]string{printable(i.OS + "/" + i.Arch)}, arch)
}

var plain = regexp.MustCompile(`^[A-Za-z0-9/._:-]{1,40}$`)

// printable quotes a text of an image, unless it is harmless.
func printable(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return fmt.Sprintf("%.40q", s)
}

func misfit(platforms []string, arch string) error {
	return api.Errorf(api.KindUnsupported, "cannot use the image here: it is for %s, but this machine runs %s/%s",
		strings.Join(platforms, ", "), guestOS, arch)
}

// Choose returns the manifests of an image's index that may be for arch, best first.
// Those that declare arch come before those that declare nothing: these may be
// anything, and the caller skips them if they are not images for arch.
func Choose(index []byte, arch string) ([]v1.Descriptor, error) {
	found, err := fitting(index, arch)
	slices.SortStableFunc(found, func(a, b v1.Descriptor) int {
		return boolean(a.Platform == nil) - boolean(b.Platform == nil)
	})
	return found, err
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// fitting returns the manifests of an index that are for arch, or may be: at least one.
func fitting(raw []byte, arch string) ([]v1.Descriptor, error) {
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, api.Errorf(api.KindInvalid, "cannot read the image's index: %w", err)
	}
	var found []v1.Descriptor
	var others []string
	for _, d := range index.Manifests {
		switch {
		case attestation(d):
		case d.Platform == nil || d.Platform.OS+d.Platform.Architecture == "" || fits(*d.Platform, arch):
			found = append(found, d)
		case len(others) < 20:
			others = append(others, printable(d.Platform.String()))
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	if len(others) == 0 {
		return nil, api.Errorf(api.KindInvalid, "cannot use the image: its index is empty")
	}
	return nil, misfit(others, arch)
}

// attestation reports whether a manifest describes an image and is not an image itself;
// BuildKit adds such manifests
// (https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md).
func attestation(d v1.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] != "" || (d.Platform != nil && d.Platform.OS == "unknown")
}

// fits reports whether a guest of arch runs programs for p. Variants must be the
// minimum that every processor of the architecture supports.
func fits(p v1.Platform, arch string) bool {
	least := map[string]string{"amd64": "v1", "arm64": "v8"}[arch]
	os, of, variant := normal(p.OS, p.Architecture, p.Variant)
	return os == guestOS && of == arch && (variant == "" || variant == least)
}
