package registry

import (
	"io"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/image/oci/registrytest"
)

// TestArtifact: the one file of an artifact comes, from the mirror first, and once.
func TestArtifact(t *testing.T) {
	fx, mirror := newFixture(t, registrytest.Options{}), newFixture(t, registrytest.Options{})
	want := Artifact{Kind: "thing", Layer: "application/x.thing", Most: 1 << 20}
	push := func(to *fixture, name, kind, text string) string {
		return must[string](t)(to.PushArtifact(name, registrytest.Artifact{Config: "application/x.config", Layer: kind, Data: []byte(text)}))
	}
	digest := push(fx, "a/thing:1", want.Layer, "here")
	push(fx, "a/other:1", "application/x.other", "here")
	push(fx, "a/large:1", want.Layer, strings.Repeat("x", 1<<20+1))
	push(mirror, "m/a/thing:1", want.Layer, "in the mirror")
	get := func(c *Client, name string) (text, manifest, note string, err error) {
		f, err := c.FindArtifact(t.Context(), must[Reference](t)(Parse(fx.Host+"/"+name)), want)
		if err != nil {
			return "", "", "", err
		}
		defer f.Close()
		file, _, err := f.Fetch(t.Context(), silent)
		if err != nil {
			return "", "", "", err
		}
		defer file.Close()
		return string(must[[]byte](t)(io.ReadAll(file))), f.Manifest, f.Note, nil
	}
	for range 2 {
		if text, manifest, note, err := get(fx.client(), "a/thing:1"); err != nil || text != "here" || manifest != digest || note != "" {
			t.Errorf("%q %s %q %v", text, manifest, note, err)
		}
	}
	if n := fx.Asked("/blobs/sha256"); n != 1 {
		t.Errorf("the file came %d times", n)
	}
	mirrored := fx.client(func(o *Options) {
		o.Mirrors = func() (map[string]string, error) { return map[string]string{fx.Host: mirror.Host + "/m"}, nil }
	})
	if text, _, note, err := get(mirrored, "a/thing:1"); err != nil || text != "in the mirror" || note != "" {
		t.Errorf("%q %q %v", text, note, err)
	}
	mirror.Close()
	if text, _, note, err := get(mirrored, "a/thing:1"); err != nil || text != "here" || !strings.Contains(note, "the mirror of "+fx.Host) {
		t.Errorf("%q %q %v", text, note, err)
	}
	_, _, _, err := get(fx.client(), "a/other:1")
	expect(t, err, api.KindUnsupported, "it is not a thing: it has 0 files of the type application/x.thing", "thing")
	_, _, _, err = get(fx.client(), "a/large:1")
	expect(t, err, api.KindInvalid, "larger than 1 MiB", "author of the thing")
	ref := must[Reference](t)(Parse(fx.Host + "/a/thing:1")).Retry("banger again")
	fx.Close()
	if _, err := fx.client().FindArtifact(t.Context(), ref, want); !strings.HasPrefix(api.AsError(err).Hint, "banger again ") {
		t.Errorf("%v: %s", err, api.AsError(err).Hint)
	}
}
