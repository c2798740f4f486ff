package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// The aims for images, as set by the issue that requested the measurements.
const (
	aimUnpack = 1.3
	aimSizes  = 1.1
)

// imagesReport is the result for images. All times are in milliseconds.
type imagesReport struct {
	Samples map[string][]float64 `json:"samples_ms"`
	PeakKiB map[string]peaks     `json:"peak_rss_kib"` // by imported image
	Notes   []string             `json:"notes,omitempty"`

	Files     int   `json:"files"` // of the image that was unpacked
	Bytes     int64 `json:"bytes"`
	Packed    int64 `json:"compressed_bytes"`
	DiskBytes int64 `json:"file_system_bytes"`
}

// write writes bench-images.json, and its part of bench.md, into dir.
func (r *imagesReport) write(dir string, m machineLine) error {
	data, err := json.MarshalIndent(struct {
		Schema  int         `json:"schema"`
		Command string      `json:"command"`
		Machine machineLine `json:"machine"`
		*imagesReport
	}{1, "make bench-images", m, r}, "", " ")
	if err != nil {
		return err
	}
	text := r.markdown(m)
	fmt.Print(text)
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "bench-images.json"), append(data, '\n'), 0o644),
		writePart(filepath.Join(dir, "bench.md"), imagesMark, text))
}

func (r *imagesReport) markdown(m machineLine) string {
	p, s := &page{}, r.Samples
	p.say("# Images\n")
	p.say("Written by `make bench-images` on %s with banger %s in %.0f s; all samples are in `bench-images.json`.\n",
		m.When.Format("2006-01-02 15:04 UTC"), m.Version, m.Took)
	p.say("Machine: %d CPUs, Linux %s, QEMU %s with **%s**, disk driver %s on %s; load average %s before and %s after. Ratios are of\n"+
		"medians, with the 95 %% interval of a bootstrap over rounds; the two that are compared take turns.",
		m.CPUs, m.Kernel, m.QEMU, m.Accel, m.DiskDriver, m.FileSystem, m.LoadBefore, m.LoadAfter)
	for _, note := range r.Notes {
		p.say("\nNote: %s.", note)
	}
	p.say("\n## Aims for images")
	p.table("what", "measured", "aim", "")
	row := func(what string, d difference, aim float64) {
		p.say("| %s | %.2f (%.2f to %.2f) | ≤ %.2f | %s |", what, d.Medians, d.Low, d.High, aim, d.verdict(aim))
	}
	row("first use, unpack and build: banger's time by that of `tar -x` and `mke2fs -d` over the same bytes", ratio(s["unpack.banger"], s["unpack.hand"]), aimUnpack)
	row(fmt.Sprintf("create → first exec from an image with %d MiB in it, by the same from one with %d MiB", largeImage>>20, smallImage>>20),
		ratio(s["bench-large.total"], s["bench-small.total"]), aimSizes)
	r.tables(p)
	return p.String()
}

func (r *imagesReport) tables(p *page) {
	s := r.Samples
	p.say("\n## First use of an image")
	p.say("\nOne compressed layer of %d files and directories, %d MiB, %d MiB compressed. banger verifies both of its digests besides.",
		r.Files, r.Bytes>>20, r.Packed>>20)
	p.table(columns...)
	p.row("banger: import of the image", s["unpack.banger"])
	p.row("`tar -xzf`, then `mke2fs -d`", s["unpack.hand"])
	p.row("of that, `tar`", s["unpack.tar"])
	p.row("of that, `mke2fs`", s["unpack.mke2fs"])
	p.say("\nThe most memory (RSS) of each process meanwhile:")
	p.table("KiB", "bangerd", "its largest job", "mke2fs")
	for _, what := range slices.Sorted(maps.Keys(r.PeakKiB)) {
		peak := r.PeakKiB[what]
		p.say("| %s | %d | %d | %d |", what, peak["bangerd"], peak["jobs"], peak["mke2fs"])
	}
	p.say("\n## Starts from a cached image\n")
	p.say("VMs with disks of %d GiB; each image had been started from once.", imagesDisk>>30)
	p.table(columns...)
	p.row(fmt.Sprintf("%d MiB: create → `true` has ended", smallImage>>20), s["bench-small.total"])
	p.row(fmt.Sprintf("%d MiB: create → `true` has ended", largeImage>>20), s["bench-large.total"])
	p.row(fmt.Sprintf("%d MiB: of that, banger's own work", smallImage>>20), s["bench-small.own"])
	p.row(fmt.Sprintf("%d MiB: of that, banger's own work", largeImage>>20), s["bench-large.own"])
}
