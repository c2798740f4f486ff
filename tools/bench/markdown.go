package main

import "fmt"

var columns = []string{"ms", "n", "p50", "p90", "min", "max"}

// markdown returns docs/bench.md.
func (r *report) markdown(m machineLine) string {
	p := &page{}
	p.say("<!-- Written by `make bench`. Do not edit. -->")
	p.say("# Speed\n")
	r.lines(p)
	for _, c := range r.charts() {
		p.say("\n![%s](%s)", c.title, c.file)
	}
	p.say("\n## How it was measured\n")
	p.say("%s", r.tables(m))
	return p.String()
}

// lines are what most readers want to know.
func (r *report) lines(p *page) {
	s := r.Samples
	verdicts, aims := map[string]int{}, r.aims()
	for _, a := range aims {
		verdicts[a.value.verdict(a.most)]++
	}
	agent, ofForwarder := r.Crowd.ofConnection()
	forwarder, _ := r.Memory.forwarder()
	p.say("- **Aims**: %[2]d of %[1]d are reached; missed: %[3]d; within the noise: %[4]d.", len(aims), verdicts[reached], verdicts[missed], verdicts[noise])
	p.say("- **A start**: `banger vm run -- true` takes %s ms here and QEMU by hand %s ms, of which banger's own work is %s ms.",
		ms(median(s["cli.total"])), ms(median(s["bare.total"])), ms(median(r.above())))
	p.say("- **A command** in a running VM, `banger vm exec`, takes %s ms; a byte through an open session and back %s ms.", ms(median(s["true.typed"])), ms(median(s["cat.banger"])))
	p.say("- **When the daemon is killed or restarted**, an open stream is silent for %s ms (p99), and not a byte is lost or repeated.", ms(p99(r.silent())))
	p.say("- **Memory**: the daemon takes %s KiB for each VM, a VM's forwarder %s KiB, and a silent connection %s KiB of the guest and %s KiB of the forwarder.",
		ms(r.Memory.each()), ms(forwarder), ms(agent), ms(ofForwarder))
}

// tables are all that was measured.
func (r *report) tables(m machineLine) string {
	p := &page{}
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
	r.aimsTable(p)
	for _, t := range []struct {
		of    string // samples without which there is nothing to say
		write func(*page)
	}{
		{"api.total", r.createTable}, {"echo.bare", r.roundTripTables}, {"silent.session.killed", r.downtimeTable}, {"echo.downloads", r.crowdTables},
		{"api.stop", r.endTable}, {"burst.wall", r.manyTable}, {"daemon.start", r.stoppedTable},
		{"work.ship", r.workspaceTable},
	} {
		if len(r.Samples[t.of]) > 0 {
			t.write(p)
		}
	}
	return p.String()
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

// once reports whether the image was built, unpacked and sized once.
func (r *report) once() string {
	if r.ImageTouched {
		return "**The image's files changed while VMs were made.**"
	}
	return fmt.Sprintf("The image was unpacked and sized once: its files, down to their times, were the same before and after %d VMs were made from it.", r.Made)
}

func (r *report) roundTripTables(p *page) {
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

func (r *report) downtimeTable(p *page) {
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

func (r *report) crowdTables(p *page) {
	s, c := r.Samples, r.Crowd
	p.say("\n## Many connections")
	p.say("\nA byte goes through `cat` in a session and back while %d other streams of the same VM carry as much as they can:", bulkStreams)
	p.table(columns...)
	p.row("beside downloads", s["echo.downloads"])
	p.row("beside uploads", s["echo.uploads"])
	p.say("\nMemory at rest, without connections through a published port and with %d that have carried %d MiB there and back:", c.Connections, crowdCarries>>20)
	p.table("KiB", "agent in the guest, RSS", "forwarder, private", "forwarder, PSS")
	p.say("| no connection | %d | %d | %d |", c.AgentIdleKiB, c.ForwarderIdle.Private, c.ForwarderIdle.PSS)
	p.say("| %d silent connections | %d | %d | %d |", c.Connections, c.AgentFullKiB, c.ForwarderFull.Private, c.ForwarderFull.PSS)
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
	p.say("\nThe daemon's memory, after it has come to rest; %d of the VMs publish a port:", len(m.Forwarders))
	p.table("KiB", "RSS", "PSS", "private", "goroutines", "open files")
	p.say("| no VM | %d | %d | %d | %d | %d |", m.Empty.RSS, m.Empty.PSS, m.Empty.Private, m.Empty.Goroutines, m.Empty.Files)
	p.say("| %d VMs | %d | %d | %d | %d | %d |", m.VMs, m.Full.RSS, m.Full.PSS, m.Full.Private, m.Full.Goroutines, m.Full.Files)
	n := int64(max(1, m.VMs))
	p.say("| a VM | %d | %d | %d | %d | %d |", (m.Full.RSS-m.Empty.RSS)/n, (m.Full.PSS-m.Empty.PSS)/n,
		(m.Full.Private-m.Empty.Private)/n, (m.Full.Goroutines-m.Empty.Goroutines)/int(n), (m.Full.Files-m.Empty.Files)/int(n))
	if len(m.Forwarders) > 0 {
		share, own := m.forwarder()
		p.say("\nThe forwarder of a VM's ports is the daemon's program again, and shares its pages: with %d of them one takes %s KiB (PSS, median),\n"+
			"of which %s KiB are its own.", len(m.Forwarders), ms(share), ms(own))
	}
}

func (r *report) stoppedTable(p *page) {
	p.say("\n## A daemon's start")
	p.say("\nFrom the start of its process to the list of its %d VMs, none of which runs, on a machine with %d other processes:", stoppedVMs, bystanders)
	p.table(columns...)
	p.row("start → list", r.Samples["daemon.start"])
	p.row("the daemon's processor time, up to its end right after", r.Samples["daemon.start-busy"])
}

func (r *report) workspaceTable(p *page) {
	s := r.Samples
	p.say("\n## A repository in a VM")
	p.say("\n%d files of %d MiB together, all of them tracked:", treeFiles, treeBytes>>20)
	p.table(columns...)
	p.row("the work tree is sent, and the guest's files are listed", s["work.ship"])
	p.row("the same files by `tar` through `vm exec tar`", s["work.tar"])
	p.row(fmt.Sprintf("a commit of the work tree with %d changes", dirtyFiles), s["work.snapshot"])
	p.row("`banger up -- true`, again", s["work.again"])
	p.row("`banger vm exec -- true`", s["work.exec"])
	p.row("the guest lists its files", s["work.list"])
	p.row("`banger work status`, nothing changed", s["work.status"])
	p.row(fmt.Sprintf("`banger work diff --stat`, %d files changed in the guest", workFiles), s["work.diff"])
	p.row("`banger sync`, nothing changed", s["work.sync-nothing"])
	p.row("`banger sync --watch`: a file written here is in the guest", s["work.to-guest"])
	p.row("a file written in the guest is here", s["work.to-host"])
}
