package main

import (
	"fmt"
	"slices"
)

// The aims (ms, MiB). The issue that asked for the measurements set them.
const (
	aimCreate = 30.0
	aimExec   = 3.0
	aimMemory = 1.0
	aimSilent = 250.0
	aimStart  = 1000.0
	aimBeside = 30.0
	// KiB.
	aimConnection = 64.0
	aimForwarder  = 6 << 10
)

var columns = []string{"ms", "n", "p50", "p90", "min", "max"}

// markdown is docs/bench.md.
func (r *report) markdown(m machineLine) string {
	p := &page{}
	p.say("<!-- Written by `make bench`. Do not edit. -->")
	p.say("# Speed\n")
	p.say("Written by `make bench` on %s with banger %s in %.0f s; all samples are in `bench.json`.\n",
		m.When.Format("2006-01-02 15:04 UTC"), m.Version, m.Took)
	p.say("Machine: %d CPUs, Linux %s, QEMU %s with **%s**, disk driver %s on %s, guest kernel %s, 1 vCPU and %d MiB a guest;\n"+
		"load average %s before and %s after. “Bare” is QEMU started by hand with the very arguments that banger gives it, disk made\n"+
		"beforehand, up to the same greeting of the same agent; both take turns in every round. Differences are of medians, with the\n"+
		"95 %% interval of a bootstrap over rounds.", m.CPUs, m.Kernel, m.QEMU, m.Accel, m.DiskDriver, m.FileSystem, m.Guest,
		guestMemory>>20, m.LoadBefore, m.LoadAfter)
	if m.Accel == "tcg" {
		p.say("\nThe guests are emulated: their own work takes ten to fifty times as long as with KVM, and is in every figure that has a\n" +
			"guest in it. Only the differences say what banger costs.")
	}
	for _, note := range r.Notes {
		p.say("\nNote: %s.", note)
	}
	r.aims(p)
	r.createTable(p)
	r.tripTables(p)
	r.silenceTable(p)
	r.endTable(p)
	r.manyTable(p)
	return p.String()
}

// above is what banger itself adds to a bare QEMU, in each round: all the time
// in which the VMM did not run yet or the agent had answered already. Unlike the
// difference of whole starts it has nothing of the guest's own noise in it.
func (r *report) above() []float64 {
	s := r.Samples
	sum := make([]float64, len(s["api.before"]))
	for i := range sum {
		sum[i] = s["api.before"][i] + s["api.after"][i]
	}
	return sum
}

func (r *report) aims(p *page) {
	s := r.Samples
	p.say("\n## Aims")
	p.table("what", "measured", "aim", "")
	api, cli := compare(s["api.total"], s["bare.total"]), compare(s["cli.total"], s["bare.total"])
	row := func(what string, d difference, aim float64) {
		p.say("| %s | %s ms (%s to %s) | ≤ %.0f ms | %s |", what, ms(d.Medians), ms(d.Low), ms(d.High), aim, d.verdict(aim))
	}
	row("create → first exec, above bare QEMU: `banger vm run -- true` as typed", cli, aimCreate)
	row("the same by the Go client", api, aimCreate)
	own := median(r.above())
	p.say("| of that, measured apart: all work of client and daemon before QEMU starts and after the agent answers | %s ms | ≤ %.0f ms | %s |",
		ms(own), aimCreate, verdict(own, aimCreate))
	row("one byte through `cat` in a session, above the agent's raw echo on a bare link", compare(s["cat.banger"], s["echo.bare"]), aimExec)
	row("of that, client and daemon: above `cat` in a session on a bare link", compare(s["cat.banger"], s["cat.bare"]), aimExec)
	row("`true` to its exit status, above the same on a bare link (client and daemon)", compare(s["true.banger"], s["true.bare"]), aimExec)
	silent := p99(slices.Concat(s["silent.session.killed"], s["silent.session.stopped"], s["silent.port.killed"], s["silent.port.stopped"]))
	p.say("| silence of an open stream when the daemon is killed or restarted, p99 | %s ms | ≤ %.0f ms | %s |", ms(silent), aimSilent, verdict(silent, aimSilent))
	if start := median(s["daemon.start"]); len(s["daemon.start"]) > 0 { // older reports have none
		p.say("| a daemon's start with %d VMs that do not run, beside %d processes, until it has listed them, median | %s ms | ≤ %.0f ms | %s |",
			stoppedVMs, bystanders, ms(start), aimStart, verdict(start, aimStart))
	}
	beside := max(median(s["echo.downloads"]), median(s["echo.uploads"]))
	p.say("| one byte through `cat` in a session beside %d downloads or uploads of the same VM, median | %s ms | ≤ %.0f ms | %s |",
		bulkStreams, ms(beside), aimBeside, verdict(beside, aimBeside))
	agent, forwarder := r.Crowd.ofConnection()
	p.say("| a silent connection through a published port (%d of them): the agent in the guest (RSS) | %.0f KiB | ≤ %.0f KiB | %s |",
		r.Crowd.Connections, agent, aimConnection, verdict(agent, aimConnection))
	p.say("| the same: the forwarder (private) | %.0f KiB | ≤ %.0f KiB | %s |", forwarder, aimConnection, verdict(forwarder, aimConnection))
	idle := float64(r.Crowd.ForwarderIdle.PSS)
	p.say("| the forwarder of a VM's ports at rest (PSS) | %.0f KiB | ≤ %d KiB | %s |", idle, aimForwarder, verdict(idle, aimForwarder))
	each := float64(r.Memory.Full.RSS-r.Memory.Empty.RSS) / float64(max(1, r.Memory.VMs)) / 1024
	p.say("| daemon memory a VM (RSS, %d VMs) | %.2f MiB | < %.0f MiB | %s |", r.Memory.VMs, each, aimMemory, verdict(each, aimMemory))
}

func (r *report) createTable(p *page) {
	s := r.Samples
	p.say("\n## Create → first exec")
	p.table(columns...)
	p.row("bare QEMU: start → `true` has ended", s["bare.total"])
	p.row("banger, Go client: create → `true` has ended", s["api.total"])
	p.row("banger, as typed: `banger vm run -- true`", s["cli.total"])
	p.say("\nWhere the time goes, in the same rounds:")
	p.table(columns...)
	p.row("bare: QEMU's start → agent answers", s["bare.boot"])
	p.row("banger: QEMU's start → agent answers", s["api.boot"])
	p.row("banger: request → QEMU's start (client, daemon, record, disk)", s["api.before"])
	p.row("banger: agent answers → client has the result", s["api.after"])
	p.row("bare: first `true`", s["bare.exec"])
	p.row("banger: first `true`", s["api.exec"])
	p.say("\nThe steps as the operation itself timed them (`vmm` ends when QEMU's monitor answers, while the guest already boots):")
	p.table(columns...)
	for _, step := range []string{"kernel", "image", "disk", "vmm", "agent"} {
		p.row(step, s["step."+step])
	}
	p.say("\n%s", r.once())
}

// once says whether the image was built, unpacked and sized once.
func (r *report) once() string {
	if r.ImageTouched {
		return "**The image's files changed while VMs were made.**"
	}
	return fmt.Sprintf("The image was unpacked and sized once: its files, down to their times, were the same before and after %d VMs were made from it.", r.Made)
}

func (r *report) tripTables(p *page) {
	s := r.Samples
	p.say("\n## Round trips")
	p.table(columns...)
	p.row("one byte, agent's raw echo, bare link", s["echo.bare"])
	p.row("one byte, agent's raw echo, through the daemon", s["echo.banger"])
	p.row("one byte through `cat` in a session, bare link", s["cat.bare"])
	p.row("one byte through `cat` in a session, through the daemon", s["cat.banger"])
	p.row("`true`, the guest's own fork, exec and wait, by its shell: bare", s["true.guest-bare"])
	p.row("the same in banger's guest", s["true.guest"])
	p.row("`true` to its exit status, bare link", s["true.bare"])
	p.row("`true` to its exit status, Go client and daemon", s["true.banger"])
	p.row("`true` to its exit status, as typed: `banger vm exec`", s["true.typed"])
	p.say("\nThe bare link has no client and no daemon: what it takes above the guest's own time is the agent's and the kernel's work in the\n"+
		"guest, %s ms for `true` and %s ms for a byte through `cat` (above the raw echo).",
		ms(median(s["true.bare"])-median(s["true.guest-bare"])), ms(median(s["cat.bare"])-median(s["echo.bare"])))
}

func (r *report) silenceTable(p *page) {
	s := r.Samples
	p.say("\n## Open streams while the daemon is gone")
	p.say("\nA byte goes to the guest and back every %d ms; this is the longest time without one when the daemon is killed (`kill -9`) or\n"+
		"stopped and the clients start another. Every byte came back, once and in order.", beat.Milliseconds())
	p.table(columns...)
	p.row("session (`vm exec`), daemon killed", s["silent.session.killed"])
	p.row("session, daemon stopped", s["silent.session.stopped"])
	p.row("connection to a published port, daemon killed", s["silent.port.killed"])
	p.row("connection to a published port, daemon stopped", s["silent.port.stopped"])
}

func (r *report) endTable(p *page) {
	s := r.Samples
	p.say("\n## Stop and delete")
	p.table(columns...)
	p.row("bare: agent asked → QEMU has ended", s["bare.stop"])
	p.row("banger: stop", s["api.stop"])
	p.row("delete of a stopped VM", s["api.delete"])
	p.row("delete of a running VM (`--force`)", s["api.delete-force"])
	d := compare(s["api.stop"], s["bare.stop"])
	p.say("\nStopping through banger takes %s ms (%s to %s) more than asking the agent by hand.", ms(d.Medians), ms(d.Low), ms(d.High))
}

func (r *report) manyTable(p *page) {
	s, m := r.Samples, r.Memory
	p.say("\n## Many VMs")
	p.table(columns...)
	p.row(fmt.Sprintf("%d VMs created at once: all of them", burst), s["burst.wall"])
	p.row("each of them", s["burst.each"])
	p.say("\nThe daemon's memory, after it has come to rest:")
	p.table("KiB", "RSS", "PSS", "private", "goroutines", "open files")
	p.say("| no VM | %d | %d | %d | %d | %d |", m.Empty.RSS, m.Empty.PSS, m.Empty.Private, m.Empty.Goroutines, m.Empty.Files)
	p.say("| %d VMs | %d | %d | %d | %d | %d |", m.VMs, m.Full.RSS, m.Full.PSS, m.Full.Private, m.Full.Goroutines, m.Full.Files)
	n := int64(max(1, m.VMs))
	p.say("| a VM | %d | %d | %d | %d | %d |", (m.Full.RSS-m.Empty.RSS)/n, (m.Full.PSS-m.Empty.PSS)/n,
		(m.Full.Private-m.Empty.Private)/n, (m.Full.Goroutines-m.Empty.Goroutines)/int(n), (m.Full.Files-m.Empty.Files)/int(n))
}
