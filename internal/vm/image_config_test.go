package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"banger/api"
	"banger/internal/driver/fake"
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
	w.must(w.Start(t.Context(), "there", api.StartVM{}))
	w.leave()
	w.enter()
	for _, name := range []string{"there", "pulled"} {
		if diff := cmp.Diff(want, w.show(name).ImageConfig); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestImageConfigThatCannotWork(t *testing.T) {
	w := newWorld(t)
	w.caches.config = &api.ImageConfig{StopSignal: "SIGNOTHING"}
	for _, image := range []string{"tiny", "debian"} {
		err := w.do(w.Create(t.Context(), api.CreateVM{Image: image, Start: true}))
		if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "cannot use image "+image+": its configuration has the StopSignal") {
			t.Errorf("%s: %v", image, err)
		}
		w.nothingLeft()
	}
}

// TestBackground: what runs without a client does so after each start.
func TestBackground(t *testing.T) {
	w := newWorld(t)
	w.caches.config = &api.ImageConfig{Entrypoint: []string{"sh", "-c", `echo "$A $0" >> ran`}, Env: []string{"A=a"}}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true, Background: &api.Background{Argv: []string{"x"}, Env: []string{"A=b"}, Dir: "/"}}))
	ran := filepath.Join(w.Paths.VM(w.show("dev").ID), fake.RootDir, "ran")
	await := func(want string) {
		t.Helper()
		for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			text, err := os.ReadFile(ran)
			if string(text) == want {
				return
			}
			if time.Since(began) > 10*time.Second {
				t.Fatalf("%q, %v", text, err)
			}
		}
	}
	await("b x\n")
	w.leave()
	w.enter()
	w.health("dev")
	await("b x\n") // the guest is the same
	w.must(w.Restart(t.Context(), "dev", api.StartVM{}))
	await("b x\nb x\n")
}

func TestBackgroundThatCannotStart(t *testing.T) {
	w := newWorld(t)
	w.caches.config = &api.ImageConfig{Entrypoint: []string{"/no/such"}}
	err := w.do(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true, Background: &api.Background{}}))
	if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "cannot run the command of VM dev: /no/such: command not found") {
		t.Errorf("at its first start: %v", err)
	}
	w.nothingLeft()
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true, Background: &api.Background{Entrypoint: &program}}))
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	w.must(w.Restart(t.Context(), "dev", api.StartVM{})) // one can look into it
	w.health("dev")
	err = w.do(w.Create(t.Context(), api.CreateVM{Background: &api.Background{Env: []string{"x"}}}))
	if want := `cannot run a command in the background: it sets "x" in Env, which is not NAME=value`; api.KindOf(err) != api.KindInvalid || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
