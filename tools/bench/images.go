package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/paths"
)

const (
	imagesRun    = 40 * time.Minute // bounds a run
	unpackRounds = 7

	smallImage = 40 << 20 // the content of the images that VMs start from
	largeImage = 4 << 30
	imagesDisk = 6 << 30 // the disk of VMs of both images, for equal work
)

// runImages measures how an image of many small files is unpacked and built, compared
// with tar and mke2fs for the same bytes, and starts from two images that differ only
// in size.
func runImages(ctx context.Context, rounds int, out string) error {
	return measure(ctx, rounds, out, imagesRun, func(ctx context.Context, b *bench, out string) error {
		i := &imagesBench{bench: b, dir: filepath.Join(b.home, "images-work"), report: imagesReport{PeakKiB: map[string]peaks{}}}
		defer i.clean()
		if err := b.each(ctx, []part{
			{"preparing: kernel, image, one VM", b.prepare},
			{"unpacking many small files", i.unpacking},
			{"starts from images of two sizes", i.starts},
		}); err != nil {
			return err
		}
		i.report.Samples = b.report.Samples
		return i.report.write(out, b.machine)
	})
}

// imagesBench is a run about images.
type imagesBench struct {
	*bench
	dir    string // of what is made for it
	report imagesReport
}

// clean removes large files; a killed run leaves them to the next.
func (i *imagesBench) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), cleanTime)
	defer cancel()
	errs := []error{i.bench.clean(ctx), os.RemoveAll(i.dir)}
	for _, name := range []string{"bench-unpack", "bench-small", "bench-large"} {
		if err := i.client.Images().Delete(ctx, name); err != nil && api.KindOf(err) != api.KindNotFound {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "bench: cannot clean up:", err)
	}
}

// fresh empties the directory.
func (i *imagesBench) fresh() error {
	return errors.Join(os.RemoveAll(i.dir), os.Mkdir(i.dir, 0o700))
}

// unpacking alternates between both ways. The first round warms up memory and disk
// cache, and is not counted.
func (i *imagesBench) unpacking(ctx context.Context) error {
	if err := i.fresh(); err != nil {
		return err
	}
	m, err := makeLayout(i.dir)
	if err != nil {
		return err
	}
	i.report.Files, i.report.Bytes, i.report.Packed = m.files, m.bytes, m.packed
	peak, err := i.peaksOf(ctx, func() error { _, err := i.unpack(ctx, m); return err })
	if err != nil {
		return err
	}
	i.report.PeakKiB[fmt.Sprintf("an image of %d files, %d MiB", m.files, m.bytes>>20)] = peak
	for round := range unpackRounds {
		ways := []func(context.Context, made) error{i.byBanger, i.byHand}
		for n := range ways {
			if err := ways[(round+n)%len(ways)](ctx, m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (i *imagesBench) byBanger(ctx context.Context, m made) error {
	took, err := i.unpack(ctx, m)
	if err == nil {
		i.bench.report.add("unpack.banger", took)
	}
	return err
}

// unpack imports the image and deletes it again. Pending writes of an earlier round are
// synced before.
func (i *imagesBench) unpack(ctx context.Context, m made) (time.Duration, error) {
	unix.Sync()
	began := time.Now()
	image, err := i.client.Images().Import(ctx, api.ImportImage{Path: m.layout, Name: "bench-unpack"}, nil)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	i.report.DiskBytes = image.DiskBytes
	return took, i.client.Images().Delete(ctx, "bench-unpack")
}

// byHand runs tar and mke2fs with the same layer, and a file system of the same size
// and kind.
func (i *imagesBench) byHand(ctx context.Context, m made) error {
	tree, file := filepath.Join(i.dir, "tree"), filepath.Join(i.dir, "tree.ext4")
	if err := errors.Join(os.RemoveAll(tree), os.RemoveAll(file), os.Mkdir(tree, 0o755)); err != nil {
		return err
	}
	unix.Sync()
	began := time.Now()
	if out, err := exec.CommandContext(ctx, "tar", "-xzf", m.layer, "-C", tree).CombinedOutput(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	unpacked := time.Now()
	mke2fs := exec.CommandContext(ctx, "mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, "-b", "4096", "-I", "256", "-m", "0", "-J", "size=16",
		"-N", strconv.Itoa(m.files*5/4+1024), "-E", "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0",
		file, strconv.FormatInt(i.report.DiskBytes/1024, 10)+"k")
	mke2fs.Env = append(os.Environ(), "MKE2FS_SYNC=0", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if mke2fs.Err != nil { // mke2fs is not in an ordinary user's PATH
		mke2fs.Path, mke2fs.Err = "/sbin/mke2fs", nil
	}
	if out, err := mke2fs.CombinedOutput(); err != nil {
		return fmt.Errorf("mke2fs: %w: %s", err, out)
	}
	done := time.Now()
	r := &i.bench.report
	r.add("unpack.tar", unpacked.Sub(began))
	r.add("unpack.mke2fs", done.Sub(unpacked))
	r.add("unpack.hand", done.Sub(began))
	return errors.Join(os.RemoveAll(tree), os.Remove(file))
}

// starts starts VMs from both images alternately. Each image has been started from
// once.
func (i *imagesBench) starts(ctx context.Context) error {
	sizes := map[string]int64{"bench-small": smallImage, "bench-large": largeImage}
	for name, size := range sizes {
		if err := i.importSized(ctx, name, size); err != nil {
			return err
		}
		if err := i.start(ctx, name, nil); err != nil {
			return err
		}
	}
	began := time.Now()
	for round := range i.rounds {
		if i.enough(began, imagesRun/2) {
			i.bench.report.note("only %d of %d rounds of starts fitted in the time", round, i.rounds)
			break
		}
		for n := range 2 {
			name := []string{"bench-small", "bench-large"}[(round+n)%2]
			if err := i.start(ctx, name, &i.bench.report); err != nil {
				return err
			}
		}
	}
	i.report.Notes = i.bench.report.Notes
	return nil
}

// importSized makes the image of that name with content of that size.
func (i *imagesBench) importSized(ctx context.Context, name string, size int64) error {
	if err := i.fresh(); err != nil {
		return err
	}
	tar := filepath.Join(i.dir, name+".tar")
	if err := makeRootfs(tar, size); err != nil {
		return err
	}
	peak, err := i.peaksOf(ctx, func() error {
		_, err := i.client.Images().Import(ctx, api.ImportImage{Path: tar, Name: name}, nil)
		return err
	})
	i.report.PeakKiB[fmt.Sprintf("an image of %d MiB in few files", size>>20)] = peak
	return errors.Join(err, os.RemoveAll(i.dir))
}

// start is the life cycle of a VM until its first command; r may be nil.
func (i *imagesBench) start(ctx context.Context, name string, r *report) error {
	req := i.request("from-"+name, true)
	req.Image, req.DiskBytes = name, imagesDisk
	began := time.Now()
	vm, err := i.client.VMs().Create(ctx, req, nil)
	if err != nil {
		return err
	}
	created := time.Now()
	if err := runIn(ctx, agentOf(i.client, vm.ID), "true"); err != nil {
		return err
	}
	done := time.Now()
	if r != nil {
		spawned, err := createdAt(filepath.Join(i.paths.VM(vm.ID), paths.VMLog))
		if err != nil {
			return err
		}
		r.add(name+".total", done.Sub(began))
		r.add(name+".own", spawned.Sub(began)+created.Sub(*vm.StartedAt))
	}
	return i.client.VMs().Delete(ctx, vm.ID, true, nil)
}
