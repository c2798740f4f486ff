package session

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"banger/internal/buildinfo"
	"banger/internal/daemonstart"
	"banger/internal/paths"
	"banger/internal/rootapi"
	"banger/test/harness"
)

// systemImage is the image that all scripts of system mode find.
const systemImage = "tiny"

// System prepares an installed banger for scripts: the configuration, a kernel and
// an image, and no VM. It returns options for Run. The tests run as its owner, by
// AsOwner.
func System(t *testing.T, o Options) Options {
	t.Helper()
	o.System = true
	w := &fixture{t: t, paths: paths.System(), env: os.Environ(), options: o}
	if err := configure(o.Config); err != nil {
		t.Fatal(err)
	}
	w.banger("vm", "delete", "--all", "--force")
	if err := w.restoreCaches(); err != nil {
		t.Fatal(err)
	}
	// Like every daemon that scripts meet it has done nothing yet.
	if err := configure(o.Config); err != nil {
		t.Fatal(err)
	}
	w.banger("vm", "list")
	s, err := status(t.Context(), w.paths)
	if err != nil {
		t.Fatal(err)
	}
	w.options.Idle = Usage{Goroutines: s.Goroutines, OpenFiles: s.OpenFiles}
	return w.options
}

// endSystem brings the installation back to what System made of it, and wants
// nothing of the script's VMs to be left on the host.
func (w *fixture) endSystem() {
	w.banger("vm", "delete", "--all", "--force")
	if !w.t.Failed() {
		if err := atRest(w.paths, w.options.Idle); err != nil {
			w.t.Error(err)
		}
		w.checkProcesses()
	}
	held, err := hostObjects()
	if err != nil {
		w.t.Error(err)
	}
	for _, o := range held {
		w.t.Errorf("left on the host: %s", o)
	}
	if left, err := os.ReadDir(w.paths.VMs()); err != nil || len(left) > 0 {
		w.t.Errorf("left in %s: %v, %v", w.paths.VMs(), left, err)
	}
	if w.changed {
		if err := configure(w.options.Config); err != nil {
			w.t.Error(err)
		}
	}
	if err := w.restoreCaches(); err != nil {
		w.t.Error(err)
	}
}

// hostObjects names what the host holds for VMs, whichever.
func hostObjects() ([]string, error) {
	helper := rootapi.Client{Socket: paths.RootSocket, Version: buildinfo.Get().Version}
	var held rootapi.ListAnswer
	if _, err := helper.Do(context.Background(), rootapi.ListCall{}, &held); err != nil {
		return nil, err
	}
	var names []string
	for _, o := range held.Objects {
		if o.ID != "" {
			names = append(names, o.Kind+" "+o.Name)
		}
	}
	return names, nil
}

// restoreCaches removes what a script has added to the caches, and makes what it
// has removed. The kernel is this machine's own.
func (w *fixture) restoreCaches() error {
	c := daemonstart.Client(w.paths)
	ctx := context.Background()
	kernels, err := c.Kernels().List(ctx)
	if err != nil {
		return err
	}
	if len(kernels) == 0 {
		w.banger("kernel", "import", "--host")
	}
	images, err := c.Images().List(ctx)
	if err != nil {
		return err
	}
	there := false
	for _, i := range images {
		there = there || slices.Contains(i.Names, systemImage)
	}
	if !there {
		archive := filepath.Join(w.t.TempDir(), "busybox.tar")
		if err := harness.BusyboxTar(archive); err != nil {
			return err
		}
		// Its owner's daemon reads it, whoever we are.
		w.banger("image", "import", archive, systemImage)
	}
	for _, i := range images {
		for _, name := range i.Names {
			if name != systemImage {
				w.banger("image", "delete", name)
			}
		}
	}
	return nil
}

// unitPID is the process id of a unit's main process, or 0.
func unitPID(unit string) (int, error) {
	out, err := exec.Command("systemctl", "show", "--property=MainPID", "--value", unit).Output()
	if err != nil {
		return 0, fmt.Errorf("cannot ask systemd for %s: %w", unit, err)
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

// configure writes the installation's config.toml, and returns when a daemon that
// has read it answers.
func configure(text string) error { return askRoot(request{Config: &text}) }
