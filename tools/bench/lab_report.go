package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"banger/test/harness"
)

// aimLab is the maximal time that banger may add to a bare jailed Firecracker, natively
// (ms).
const aimLab = 40.0

// documentLab writes the part of bench.md about system mode, and bench-lab.json.
func documentLab(ctx context.Context, file, out string) error {
	root, err := harness.Repository()
	if err != nil {
		return err
	}
	if out == "" {
		out = filepath.Join(root, "docs")
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var r labReport
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	r.NativeLoad = load()
	if r.Native, err = native(ctx, root); err != nil {
		return err
	}
	report, page := filepath.Join(out, "bench-lab.json"), filepath.Join(out, "bench.md")
	if r.ByHand, err = keptNotes(report, page); err != nil {
		return err
	}
	// The run's own report, if it is documented again, has them already.
	r.ByHand = slices.DeleteFunc(r.ByHand, func(n handNote) bool { return slices.Contains(r.Notes, n.Text) })
	if data, err = json.MarshalIndent(r, "", " "); err != nil {
		return err
	}
	text := r.markdown()
	fmt.Print(text)
	return errors.Join(
		os.WriteFile(report, append(data, '\n'), 0o644),
		writePart(page, labMark, text))
}

func (r *labReport) markdown() string {
	p, s := &page{}, r.Samples
	p.say("# System mode\n")
	p.say("Written by `make lab-bench` on %s with banger %s in %.0f s; all samples are in `bench-lab.json`.\n",
		r.When.UTC().Format(runTime), r.Version, r.Took)
	p.say("Machine: the lab host, %d CPUs, Linux %s, **all of it emulated (TCG)**, guests by nested KVM with %s, disk driver %s, guest kernel %s,\n"+
		"1 vCPU and %d MiB a guest; load average in it %s before and %s after. “Bare” is Firecracker started by hand by its jailer with\n"+
		"the same kernel, initramfs, configuration and disk, its jail, device and network made beforehand; both take turns. All code\n"+
		"runs ten to fifty times slower than on a processor, system calls and new processes most of all: only the last table is of native speed.",
		r.CPUs, r.Kernel, r.VMM, r.Disk, r.Guest, labMemory>>20, r.Load[0], r.Load[1])
	for _, note := range r.Notes {
		p.say("\n%s%s.", noteMark, note)
	}
	for _, note := range r.ByHand {
		p.say("\n%s", note)
	}
	p.say("\n## Create → first exec in system mode")
	p.table(columns...)
	p.row("bare: jailer's start → `true` has ended", s["bare.total"])
	p.row("bare: jailer's start → agent answers", s["bare.boot"])
	p.row("bare: first `true`", s["bare.exec"])
	p.row("banger: create → `true` has ended", s["banger.total"])
	p.row("banger: first `true`", s["banger.exec"])
	p.row("banger's own work: all but the guest's boot and the jailer's work", s["banger.own"])
	p.row("delete of a running VM", s["banger.delete"])
	d := compare(s["banger.total"], s["bare.total"])
	p.say("\nDifference of the medians, emulated: %s ms (%s to %s). %s", ms(d.Medians), ms(d.Low), ms(d.High), r.pairs())
	p.say("\nThe steps as the operation itself timed them (`vm show --timing`); those with a slash are parts of the step before it:")
	p.table(columns...)
	for _, step := range labSteps {
		if len(s["step."+step]) > 0 {
			p.row(step, s["step."+step])
		}
	}
	r.restarts(p)
	r.memory(p)
	r.natively(p)
	return p.String()
}

var labSteps = []string{
	"kernel", "image", "disk", "attach", "network", "vmm", "vmm/recover", "vmm/probe", "vmm/digests",
	"vmm/boot files", "vmm/find", "vmm/jail", "vmm/unit", "vmm/vmm", "agent",
}

// pairs describes how the rounds differ, each on its own.
func (r *labReport) pairs() string {
	a, b := r.Samples["banger.total"], r.Samples["bare.total"]
	var each []float64
	for i := range min(len(a), len(b)) {
		each = append(each, a[i]-b[i])
	}
	d := summarize(each)
	return fmt.Sprintf("Round by round: median %s, from %s to %s (n = %d).", ms(d.P50), ms(d.Min), ms(d.Max), d.N)
}

func (r *labReport) restarts(p *page) {
	s := r.Samples
	p.say("\n## Root helper and restarts")
	p.say("\n| ms | n | p50 | p99 | min | max |\n|---|---|---|---|---|---|")
	h := summarize(s["hello"])
	p.say("| `hello` to the root helper and back, a connection each | %d | %s | %s | %s | %s |", h.N, ms(h.P50), ms(p99(s["hello"])), ms(h.Min), ms(h.Max))
	p.table(columns...)
	for _, what := range []struct{ name, text string }{
		{"0", "no VM"}, {"records", fmt.Sprintf("%d stopped VMs", labRecords)},
		{"guests", fmt.Sprintf("%d stopped and %d running VMs", labRecords, labGuests)},
	} {
		p.row("bangerd, start → ready (recovered and compared), "+what.text, s["ready.bangerd."+what.name])
		p.row("`systemctl restart bangerd`, "+what.text, s["restart.bangerd."+what.name])
		p.row("bangerd-root, start → ready, "+what.text, s["ready.bangerd-root."+what.name])
		p.row("`systemctl restart bangerd-root`, "+what.text, s["restart.bangerd-root."+what.name])
	}
}

func (r *labReport) memory(p *page) {
	p.say("\n## Memory in system mode")
	p.table("KiB", "RSS")
	p.say("| Firecracker beside the guest's memory | %d |", r.KiB["beside"])
	p.say("| the guest's memory, of %d | %d |", labMemory>>10, r.KiB["guest"])
	for _, name := range []string{"bangerd", "bangerd-root"} {
		before, after := r.KiB[name+" before"], r.KiB[name+" with guests"]
		p.say("| %s, no VM runs | %d |", name, before)
		p.say("| %s, right after the start of %d VMs | %d |", name, labGuests, after)
	}
	p.say("\nThe unit of a VM: MemoryMax %s, MemoryCurrent %s, CPUQuotaPerSecUSec %s, TasksMax %s, TasksCurrent %s.",
		r.Unit["MemoryMax"], r.Unit["MemoryCurrent"], r.Unit["CPUQuotaPerSecUSec"], r.Unit["TasksMax"], r.Unit["TasksCurrent"])
}

func (r *labReport) natively(p *page) {
	p.say("\n## The parts of a start at native speed")
	p.say("\nBy `go test -bench` on the machine that emulates the lab; what needs systemd, device-mapper or KVM is not among them.\n"+
		"The machine does other work meanwhile (load average %s on %d CPUs), so the least is nearest to what a part takes.", r.NativeLoad, runtime.NumCPU())
	p.say("\n| ms | n | p50 | min | max | times per start | |\n|---|---|---|---|---|---|---|")
	var sum, least float64
	for _, n := range natives {
		s := summarize(r.Native[n.name])
		if s.N == 0 {
			p.say("| %s | 0 | – | – | – | %d | not measured |", n.text, n.times)
			continue
		}
		sum += float64(n.times) * s.P50 / 1000
		least += float64(n.times) * s.Min / 1000
		p.say("| %s | %d | %s | %s | %s | %d | |", n.text, s.N, fine(s.P50), fine(s.Min), fine(s.Max), n.times)
	}
	p.say("| sum, as often as a start does it | | %s | %s | | | aim for all of banger's own work: ≤ %.0f ms |", ms(sum), ms(least), aimLab)
}

// fine formats microseconds as milliseconds.
func fine(us float64) string { return fmt.Sprintf("%.3f", us/1000) }
