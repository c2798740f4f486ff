package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/host/apt"
	"banger/internal/host/execx"
	"banger/internal/kernel"
	"banger/internal/paths"
	"banger/test/harness"

	"golang.org/x/sys/unix"
)

// Cache returns the directory of lab images: BANGER_LAB_CACHE, or one below the
// repository.
func Cache() (string, error) {
	if dir := os.Getenv("BANGER_LAB_CACHE"); dir != "" {
		return dir, os.MkdirAll(dir, 0o755)
	}
	root, err := harness.Repository()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".cache", "lab")
	return dir, os.MkdirAll(dir, 0o755)
}

// Image is a bootable lab host; its files are never written to.
type Image struct{ Dir string }

func (i Image) root() string   { return filepath.Join(i.Dir, "root.ext4") }
func (i Image) kernel() string { return filepath.Join(i.Dir, "vmlinux") }
func (i Image) initrd() string { return filepath.Join(i.Dir, "initrd") }

// Build returns the image of the current recipe, and makes it if it is missing. say
// receives what takes long.
func Build(ctx context.Context, say io.Writer) (Image, error) {
	cache, err := Cache()
	if err != nil {
		return Image{}, err
	}
	unlock, err := lock(filepath.Join(cache, "build.lock"))
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	image := Image{filepath.Join(cache, "image-"+recipe())}
	if _, err := os.Stat(image.Dir); err == nil {
		return image, nil
	}
	fmt.Fprintln(say, "lab: building the lab host's image; a minute or two")
	packager := apt.New(filepath.Join(cache, "apt"))
	if err := packager.Update(ctx, false, func(api.Progress) {}); err != nil {
		return Image{}, err
	}
	sources, err := packager.Sources(ctx)
	if err != nil {
		return Image{}, err
	}
	sources = slices.DeleteFunc(sources, func(s apt.Source) bool { return strings.HasPrefix(s.URI, "cdrom:") })
	options, err := packager.AcquireOptions(ctx)
	if err != nil {
		return Image{}, err
	}
	staged := image.Dir + ".new"
	if err := os.RemoveAll(staged); err != nil {
		return Image{}, err
	}
	if err := bootstrap(ctx, staged, sources, options); err != nil {
		return Image{}, errors.Join(fmt.Errorf("cannot build the lab host: %w", err), os.RemoveAll(staged))
	}
	return image, os.Rename(staged, image.Dir)
}

// bootstrap fills dir with an image.
func bootstrap(ctx context.Context, dir string, sources []apt.Source, options []string) error {
	// In a user namespace apt's own user may not enter this directory.
	options = append(options, `APT::Sandbox::User "root";`)
	files := map[string]string{
		"customize.sh": customize,
		"lab.sources":  apt.Deb822(sources),
		"apt.conf":     strings.Join(options, "\n") + "\n",
	}
	// As an ordinary user mmdebstrap writes here with one of the user's subordinate
	// ids.
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			return err
		}
	}
	mode := "unshare"
	if os.Getuid() == 0 {
		mode = "root"
	}
	err := execx.Run(ctx, execx.Cmd{
		Name: "mmdebstrap", Package: "mmdebstrap", Dir: dir,
		Env: []string{"TMPDIR=" + dir, "OUT=" + dir, "SIZE=" + diskSize, "INITRD=No", "DEBIAN_FRONTEND=noninteractive"},
		Args: []string{
			"--mode=" + mode, "--variant=minbase", "--format=null", "--aptopt=" + filepath.Join(dir, "apt.conf"),
			"--dpkgopt=force-unsafe-io", // a crash loses the staging directory anyway
			"--include=" + strings.Join(packages, ","),
			"--customize-hook=" + filepath.Join(dir, "customize.sh"),
			// So that files of another id, seen from outside its namespace, can be
			// removed.
			`--customize-hook=chmod -R a+rwX "$OUT/modules"`,
			suite(sources), "-", filepath.Join(dir, "lab.sources"),
		},
	})
	if err != nil {
		return err
	}
	return extractKernel(ctx, dir)
}

// extractKernel makes vmlinux, as banger does for its guests: QEMU 7.2 starts a vmlinuz
// in a way that occasionally hangs (it keeps a random seed where the kernel unpacks
// itself), and a vmlinux by PVH.
func extractKernel(ctx context.Context, dir string) error {
	p := paths.Paths{Data: filepath.Join(dir, "kernel"), Cache: filepath.Join(dir, "kernel")}
	kernels, err := kernel.Open(p, nil)
	if err != nil {
		return err
	}
	req := api.ImportKernel{Path: filepath.Join(dir, "vmlinuz"), Modules: filepath.Join(dir, "modules"), Name: "lab"}
	if _, err := kernels.Import(ctx, req, func(api.Progress) {}); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(p.Kernels(), "*", "vmlinux"))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("the kernel was unpacked into %v", found)
	}
	if err == nil {
		err = errors.Join(os.Rename(found[0], filepath.Join(dir, "vmlinux")), os.Chmod(filepath.Join(dir, "vmlinux"), 0o644))
	}
	for _, name := range []string{"kernel", "modules", "vmlinuz"} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, name)))
	}
	return errors.Join(err, os.Chmod(dir, 0o755))
}

// suite returns the name of the release among suites such as bookworm-updates.
func suite(sources []apt.Source) string {
	shortest := ""
	for _, s := range sources {
		if shortest == "" || len(s.Suite) < len(shortest) {
			shortest = s.Suite
		}
	}
	return shortest
}

// lock waits until no other process holds the lock file.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
