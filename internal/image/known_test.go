package image

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/paths"
)

// manyImages is a cache of n images, each as one of a registry is: some kilobytes of
// configuration, five layers, a name.
func manyImages(t testing.TB, n int) (*Cache, []string) {
	t.Helper()
	p := paths.Paths{Data: t.TempDir(), Cache: t.TempDir()}
	names, hexes := map[string]string{}, make([]string, n)
	for i := range n {
		hexes[i] = fmt.Sprintf("%064x", i*7919+1<<40)
		dir := filepath.Join(p.Images(), hexes[i])
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		config := api.ImageConfig{Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Labels: map[string]string{"text": strings.Repeat("x", 500)}}
		raw, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		m := meta{Source: "a registry", Arch: "amd64", DiskBytes: 1 << 30, CreatedAt: time.Unix(int64(i), 0), Config: &config, RawConfig: raw}
		for range 5 {
			m.Layers = append(m.Layers, api.ImageLayer{Digest: "sha256:" + hexes[i]})
			m.History = append(m.History, api.ImageHistory{CreatedBy: strings.Repeat("RUN x ", 30)})
		}
		if err := fsx.WriteJSON(filepath.Join(dir, metaFile), m); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{rootfsFile, "disk-8589934592.ext4"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		names[fmt.Sprintf("image%d", i)] = hexes[i]
	}
	if err := fsx.WriteJSON(filepath.Join(p.Images(), "names.json"), names); err != nil {
		t.Fatal(err)
	}
	c, err := Open(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, hexes
}

// BenchmarkMany is what requests cost with 1,000 images.
func BenchmarkMany(b *testing.B) {
	c, hexes := manyImages(b, 1000)
	time.Sleep(settleTime + 100*time.Millisecond)
	b.Run("first List", func(b *testing.B) {
		for b.Loop() {
			clear(c.known)
			_, _ = c.List()
		}
	})
	b.Run("List", func(b *testing.B) {
		for b.Loop() {
			if all, err := c.List(); err != nil || len(all) != len(hexes) {
				b.Fatal(len(all), err)
			}
		}
	})
	for name, ref := range map[string]string{"GetByName": "image500", "GetByDigest": "sha256:" + hexes[500], "GetByPrefix": hexes[500][:62]} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.Get(ref); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("Usage", func(b *testing.B) {
		for b.Loop() {
			c.Usage()
		}
	})
}

// TestImagesAreReadOnce: a list of those that have not changed reads none again.
func TestImagesAreReadOnce(t *testing.T) {
	const n = 50
	c, hexes := manyImages(t, n)
	time.Sleep(settleTime + 100*time.Millisecond)
	if all, err := c.List(); err != nil || len(all) != n {
		t.Fatal(len(all), err)
	}
	// Reading one makes some 200 allocations, looking whether it has changed a dozen.
	if each := testing.AllocsPerRun(3, func() { _, _ = c.List() }) / n; each > 50 {
		t.Errorf("%.0f allocations for each image", each)
	}
	if err := os.RemoveAll(c.path(hexes[0])); err != nil {
		t.Fatal(err)
	}
	if all, err := c.List(); err != nil || len(all) != n-1 || len(c.known) != n-1 {
		t.Errorf("%d images, %d are remembered, %v", len(all), len(c.known), err)
	}
}

// TestChangesOfOthersAreSeen, made by hand or by another program, however soon after
// another change they come.
func TestChangesOfOthersAreSeen(t *testing.T) {
	c, hexes := manyImages(t, 3)
	path := func(name string) string { return c.path(hexes[1], name) }
	edit := func(source string) error {
		m, err := c.meta(hexes[1])
		if err != nil {
			return err
		}
		m.Source = source
		data, err := json.Marshal(m)
		if err != nil {
			return err
		}
		return os.WriteFile(path(metaFile), data, 0o600)
	}
	seen := func() string {
		all, err := c.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range all {
			if one, err := c.Get(i.Digest); err != nil || one.Source != i.Source || one.SizeBytes != i.SizeBytes {
				t.Errorf("%+v, in a list %+v, %v", one, i, err)
			}
			if i.Digest == "sha256:"+hexes[1] {
				return fmt.Sprint(i.Source, i.SizeBytes, i.Names)
			}
		}
		return "gone"
	}
	for _, pause := range []time.Duration{0, settleTime + 100*time.Millisecond} {
		before := seen()
		for name, change := range map[string]func() error{
			"another file":        func() error { return os.WriteFile(path(fmt.Sprint("disk-", pause)), []byte("x"), 0o600) },
			"the record in place": func() error { return edit(fmt.Sprint("source ", int64(pause))) },
			"a name":              func() error { _, err := c.Tag(hexes[1], fmt.Sprint("name", int64(pause))); return err },
			"the record is removed, and comes back": func() error {
				data, err := os.ReadFile(path(metaFile))
				if err != nil {
					return err
				}
				if err := os.Remove(path(metaFile)); err != nil {
					return err
				}
				if got := seen(); got != "gone" {
					t.Errorf("without a record: %s", got)
				}
				if err := os.WriteFile(path(metaFile), data, 0o600); err != nil {
					return err
				}
				return edit(fmt.Sprint("another source ", int64(pause)))
			},
		} {
			time.Sleep(pause)
			if err := change(); err != nil {
				t.Fatal(err)
			}
			after := seen()
			if after == before {
				t.Errorf("%s after %s: %s", name, pause, after)
			}
			before = after
		}
	}
}
