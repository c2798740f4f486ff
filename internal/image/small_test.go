package image

import (
	"context"
	"testing"

	"banger/api"
)

func TestNames(t *testing.T) {
	c := open(t)
	for _, name := range []string{"", "A", "a b", "-a", "a\n", "sha256:00"} {
		_, err := c.Import(context.Background(), api.ImportImage{Path: "/no/such", Name: name}, silent)
		if api.KindOf(err) != api.KindInvalid {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := c.Pull(context.Background(), api.PullImage{Name: "No-such"}, silent); api.KindOf(err) != api.KindInvalid {
		t.Errorf("pulling what cannot be: %v", err)
	}
}
