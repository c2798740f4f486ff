package vm

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"banger/api"
)

// TestImageConfigStays: a VM keeps what its image said at its creation, whether
// the image was there or had to be pulled, and through a restart of the daemon.
func TestImageConfigStays(t *testing.T) {
	w := newWorld(t)
	w.caches.config = &api.ImageConfig{Env: []string{"A=1"}, User: "app", Cmd: []string{"x"}, Labels: map[string]string{"l": "v"}}
	want := &api.ImageConfig{Env: []string{"A=1"}, User: "app", Cmd: []string{"x"}}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "there", Image: "tiny"}))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "pulled", Image: "debian"}))
	w.caches.config = &api.ImageConfig{User: "other"}
	w.must(w.Start(t.Context(), "there"))
	w.leave()
	w.enter()
	for _, name := range []string{"there", "pulled"} {
		if diff := cmp.Diff(want, w.show(name).ImageConfig); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if diff := cmp.Diff(want, w.ImageConfig(name)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	if c := w.ImageConfig("nosuch"); c != nil {
		t.Errorf("%+v", c)
	}
}

func TestImageConfigThatCannotWork(t *testing.T) {
	w := newWorld(t)
	w.caches.config = &api.ImageConfig{WorkingDir: "srv"}
	for _, image := range []string{"tiny", "debian"} {
		err := w.do(w.Create(t.Context(), api.CreateVM{Image: image, Start: true}))
		if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "cannot use image "+image+": its configuration has the WorkingDir") {
			t.Errorf("%s: %v", image, err)
		}
		w.nothingLeft()
	}
}
