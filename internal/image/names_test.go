package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"banger/api"
	"banger/internal/config"
	"banger/internal/image/distro"
	"banger/internal/image/oci/registry"
	"banger/internal/image/oci/registrytest"
)

func table(names map[string]string) func() (map[string]string, error) {
	return func() (map[string]string, error) { return names, nil }
}

func TestMeaning(t *testing.T) {
	const sum = "@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	c := open(t)
	c.records.names.host = distro.Release{ID: "debian", Version: "12", Codename: "bookworm"}
	c.UseShortNames(table(map[string]string{
		"alma": "docker.io/library/almalinux", "work": "registry.example:5000/team/app:2", "fixed": "a/b" + sum, "port": "registry.example:5000/a",
		"chain": "alma", "debian-12": "mirror.example/debian:12",
	}))
	for name, want := range map[string]string{
		"alma":             "docker.io/library/almalinux:latest",
		"alma:9":           "docker.io/library/almalinux:9",
		"alma" + sum:       "docker.io/library/almalinux" + sum,
		"work":             "registry.example:5000/team/app:2",
		"work:3":           `in the table of short names, work is already registry.example:5000/team/app:2`,
		"fixed:1":          "already",
		"port:1":           "registry.example:5000/a:1",
		"alma:":            "is not a valid name for an image",
		"chain":            "docker.io/library/alma:latest", // no look-up of what an entry says
		"alma/x":           "alma/x",
		"x/alma":           "x/alma",
		"docker.io/alma":   "docker.io/alma",
		"debian-12":        "mirror.example/debian:12", // the user's word is above the host's
		"debian:bookworm":  "debian",
		"bookworm":         "debian",
		"alpine":           "alpine",
		"alpine:alma":      "alpine:alma",
		"":                 "",
		"localhost:5000/a": "localhost:5000/a",
	} {
		got, err := c.records.names.resolve(name)
		if err != nil {
			got = err.Error()
			if api.KindOf(err) != api.KindInvalid || api.AsError(err).Hint == "" {
				t.Errorf("%s: %v: no error of kind invalid with a hint", name, err)
			}
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

// TestBuilder: the image of the VM that builds Dockerfiles is made here, whatever registries have of that
// name, and of other packages than the default one.
func TestBuilder(t *testing.T) {
	c, host := open(t), distro.Release{ID: "debian", Version: "12", Codename: "bookworm"}
	c.records.names.host = host
	if distro.Builder != config.BuilderImage {
		t.Errorf("%s is made, and %s is the setting's default", distro.Builder, config.BuilderImage)
	}
	for name, want := range map[string]bool{distro.Builder: true, "debian": true, "bookworm": true, "alpine": false, distro.Builder + ":1": false, "x/" + distro.Builder: false} {
		if host.Builds(name) != want {
			t.Errorf("%s is built here: %v", name, !want)
		}
	}
	if found, err := c.records.names.inCache(distro.Builder); found != distro.Builder || err != nil || !c.CanPull(distro.Builder) {
		t.Errorf("found as %q, %v", found, err)
	}
	if host.Recipe(distro.Builder) == host.Recipe("debian") {
		t.Error("both images are of the same packages")
	}
}

// TestShortNamesPulled: what a short name stands for is pulled, found again under
// both names, and deleted by the short one; an image of exactly that name wins.
func TestShortNamesPulled(t *testing.T) {
	c, ctx := open(t), t.Context()
	hub := registrytest.Start(registrytest.Options{})
	t.Cleanup(hub.Close)
	for _, name := range []string{"library/thing:latest", "library/thing:9"} {
		layer, err := registrytest.Files(map[string]string{"etc/issue": name})
		if err != nil {
			t.Fatal(err)
		}
		img, err := registrytest.Image("", v1.Config{}, layer)
		if err != nil {
			t.Fatal(err)
		}
		if err := hub.Push(name, img); err != nil {
			t.Fatal(err)
		}
	}
	c.UseShortNames(table(map[string]string{"it": hub.Host + "/library/thing"}))
	made, err := c.Pull(ctx, api.PullImage{Name: "it:9"}, silent)
	if err != nil || made.Names[0] != hub.Host+"/library/thing:9" {
		t.Fatalf("got %v, %v", made.Names, err)
	}
	if found, err := c.Get("it:9"); err != nil || found.Digest != made.Digest {
		t.Errorf("it:9 is not found: %v", err)
	}
	if _, err := c.Get("it"); api.KindOf(err) != api.KindNotFound {
		t.Errorf("the latest is not here, but: %v", err)
	}
	local, err := c.Import(ctx, api.ImportImage{Path: save(t, archive(t, fileEntry("etc/issue", "mine"))), Name: "it"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pull(ctx, api.PullImage{Name: "it"}, silent); err != nil {
		t.Fatal(err)
	}
	if found, err := c.Get("it"); err != nil || found.Digest != local.Digest {
		t.Errorf("an image of the short name does not win: %v", err)
	}
	if err := c.Delete("it:9", unused); err != nil {
		t.Error(err)
	}
	if _, err := c.Get(hub.Host + "/library/thing:9"); api.KindOf(err) != api.KindNotFound {
		t.Errorf("deleted by its short name: %v", err)
	}
}

func TestShortNamesUnreadable(t *testing.T) {
	c := open(t)
	c.UseShortNames(func() (map[string]string, error) { return nil, errors.New("line 3") })
	_, get := c.Get("it")
	_, pull := c.Pull(context.Background(), api.PullImage{Name: "it"}, silent)
	for _, err := range []error{get, pull, c.Delete("it", unused)} {
		if err == nil || !strings.Contains(err.Error(), "line 3") {
			t.Errorf("got %v", err)
		}
	}
}

// TestReferencesOfTheConfiguration: what the configuration takes for a reference
// is one. It has a grammar of its own, so that not all that read it link this.
func TestReferencesOfTheConfiguration(t *testing.T) {
	for _, ref := range []string{
		"alpine", "alpine:3.20", "a/b", "a_b/c--d/e.f__g:T.1-x_", "docker.io/a", "localhost/a", "localhost:5000/a/b:c", "[::1]:5000/a",
		"r.example:5000/a@sha256:" + strings.Repeat("0", 64), "r.example/a:1@sha256:" + strings.Repeat("f", 64),
		"UPPER/a", "-.example/a", "a:", ":a", "a//b", "/a", "a/", "A", "a b", "a@sha256:0", "a:b:c", "-a", "a-", "a..b", "r.example:x/a", "https://a/b", "a@b", "é",
	} {
		file := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(file, []byte(fmt.Sprintf("[image_names]\nx = %q\n", ref)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, mine := config.Load(file, func(string) string { return "" }, config.Host{})
		_, theirs := registry.Parse(ref)
		if mine == nil && theirs != nil {
			t.Errorf("the configuration takes %q, but: %v", ref, theirs)
		}
		if mine != nil && theirs == nil {
			t.Logf("the configuration does not take %q: %v", ref, mine)
		}
	}
}
