package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/image/imagetest"
	"banger/internal/image/tarball"
)

// TestHostileImages: each is refused, with words that name what is wrong, or where want
// is empty does what it says below the image's root; the host's files stay as they are,
// and nothing is left of it.
func TestHostileImages(t *testing.T) {
	c, host := open(t), t.TempDir()
	outside, victim := filepath.Join(host, "outside"), filepath.Join(host, "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, h := range imagetest.Corpus(outside) {
		t.Run(h.Name, func(t *testing.T) {
			c.maker.limits = tarball.DefaultLimits
			if h.Limits != nil {
				h.Limits(&c.maker.limits)
			}
			_, err := c.maker.fromLayers(t.Context(), []string{"bad"}, h.Image(t), silent)
			if harmless := h.Want[0] == ""; harmless != (err == nil) || !harmless && api.KindOf(err) != api.KindInvalid {
				t.Fatalf("got %v", err)
			}
			if err == nil {
				if err := c.Delete("bad", unused); err != nil {
					t.Fatal(err)
				}
				err = errors.New("") // what follows holds for all
			}
			for _, want := range h.Want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %s", err, want)
				}
			}
			if data, err := os.ReadFile(victim); err != nil || string(data) != "mine" {
				t.Errorf("the host's file: %q %v", data, err)
			}
			if all, err := os.ReadDir(host); err != nil || len(all) != 1 {
				t.Errorf("outside: %v %v", all, err)
			}
			checkClean(t, c)
		})
	}
	if images, err := c.List(); err != nil || len(images) > 0 {
		t.Errorf("left: %v %v", images, err)
	}
}
