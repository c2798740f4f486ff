package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
)

// TestFindByTheBeginningOfADigest: four digits at least, and of several that begin so
// none is taken; an exact name wins.
func TestFindByTheBeginningOfADigest(t *testing.T) {
	c := &Cache{dir: t.TempDir(), names: map[string]string{}}
	c.UseShortNames(func() (map[string]string, error) { return nil, nil })
	for begin, name := range map[string]string{"abcd1": "one", "abcd2": "two", "feed": "abcd"} {
		hex := begin + strings.Repeat("0", 64-len(begin))
		if err := os.Mkdir(filepath.Join(c.dir, hex), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.dir, hex, metaFile), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		c.names[name] = hex
	}
	for ref, want := range map[string]string{"one": "one", "abcd": "abcd", "abcd1": "one", "sha256:abcd2": "two", "feed": "abcd"} {
		if got, err := c.Get(ref); err != nil || got.Names[0] != want {
			t.Errorf("%s: %v, %v", ref, got.Names, err)
		}
	}
	for _, ref := range []string{"fee", "sha256:fee", "abcd3"} {
		if _, err := c.Get(ref); api.KindOf(err) != api.KindNotFound {
			t.Errorf("%q: %v", ref, err)
		}
	}
	_, err := c.Get("sha256:abcd")
	if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "2 images: one (abcd10000000), two (abcd20000000)") {
		t.Errorf("got %v", err)
	}
}
