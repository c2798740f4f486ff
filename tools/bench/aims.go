package main

import (
	"fmt"
	"slices"
)

// The aims. The issues that asked for the measurements set them.
const (
	aimCreate = 30.0 // ms
	aimExec   = 3.0
	aimSilent = 250.0
	aimStart  = 1000.0
	aimBeside = 30.0

	aimShip     = 1.5 // times
	aimSnapshot = 300.0
	aimNothing  = 200.0
	aimDiff     = 500.0
	aimEdit     = 300.0

	aimConnection = 64.0 // KiB
	aimForwarder  = 6 << 10
	aimMemory     = 1 << 10
)

// aim is what a run is to reach, and what it measured.
type aim struct {
	what   string
	short  string // for charts
	unit   string
	most   float64
	value  difference // all three the same for what has no interval
	spread bool       // there is an interval
}

func (a aim) measured() string {
	if a.spread {
		return fmt.Sprintf("%s %s (%s to %s)", ms(a.value.Medians), a.unit, ms(a.value.Low), ms(a.value.High))
	}
	return ms(a.value.Medians) + " " + a.unit
}

// aims are those of what was measured.
func (r *report) aims() []aim {
	s := r.Samples
	var all []aim
	above := func(short, what, name, bare string, most float64) {
		if len(s[name]) > 0 && len(s[bare]) > 0 {
			all = append(all, aim{what, short, "ms", most, compare(s[name], s[bare]), true})
		}
	}
	single := func(measured bool, short, what, unit string, value, most float64) {
		if measured {
			all = append(all, aim{what, short, unit, most, difference{value, value, value}, false})
		}
	}
	above("start, as typed", "create → first exec, above bare QEMU: `banger vm run -- true` as typed", "cli.total", "bare.total", aimCreate)
	above("start, Go client", "the same by the Go client", "api.total", "bare.total", aimCreate)
	own := r.above()
	single(len(own) > 0, "own work in a start", "of that, measured apart: all work of client and daemon before QEMU starts and after the agent answers",
		"ms", median(own), aimCreate)
	above("a byte through a session", "one byte through `cat` in a session, above the agent's raw echo on a bare link", "cat.banger", "echo.bare", aimExec)
	above("of that, client and daemon", "of that, client and daemon: above `cat` in a session on a bare link", "cat.banger", "cat.bare", aimExec)
	above("a short command", "`true` to its exit status, above the same on a bare link (client and daemon)", "true.banger", "true.bare", aimExec)
	silent := r.silent()
	single(len(silent) > 0, "silence of a stream, p99", "silence of an open stream when the daemon is killed or restarted, p99", "ms", p99(silent), aimSilent)
	single(len(s["daemon.start"]) > 0, fmt.Sprintf("daemon's start, %d VMs", stoppedVMs),
		fmt.Sprintf("a daemon's start with %d VMs that do not run, beside %d processes, until it has listed them, median", stoppedVMs, bystanders),
		"ms", median(s["daemon.start"]), aimStart)
	single(len(s["echo.downloads"]) > 0, fmt.Sprintf("a byte beside %d streams", bulkStreams),
		fmt.Sprintf("one byte through `cat` in a session beside %d downloads or uploads of the same VM, median", bulkStreams),
		"ms", max(median(s["echo.downloads"]), median(s["echo.uploads"])), aimBeside)
	single(len(s["work.ship"]) > 0, "a repository is sent",
		fmt.Sprintf("a work tree of %d files and %d MiB is sent, against `tar` through `vm exec tar`, medians", treeFiles, treeBytes>>20),
		"times", median(s["work.ship"])/max(1, median(s["work.tar"])), aimShip)
	single(len(s["work.snapshot"]) > 0, "a commit of a work tree", fmt.Sprintf("a commit of that work tree with %d changes, median", dirtyFiles),
		"ms", median(s["work.snapshot"]), aimSnapshot)
	above("sync, nothing changed", "`banger sync` of that work tree, nothing changed, above the guest's list of its files", "work.sync-nothing", "work.list", aimNothing)
	above("diff of 50 changes", fmt.Sprintf("`banger work diff --stat` of %d changes in the guest, above the same", workFiles), "work.diff", "work.list", aimDiff)
	single(len(s["work.to-guest"]) > 0, "an edit, to the guest", "`banger sync --watch`: from an edit here until it is in the guest, median", "ms", median(s["work.to-guest"]), aimEdit)
	single(len(s["work.to-host"]) > 0, "an edit, from the guest", "from an edit in the guest until it is here, median", "ms", median(s["work.to-host"]), aimEdit)
	c := r.Crowd
	agent, forwarder := c.ofConnection()
	single(c.Connections > 0, "silent connection, agent",
		fmt.Sprintf("a silent connection through a published port (%d of them): the agent in the guest (RSS)", c.Connections), "KiB", agent, aimConnection)
	single(c.Connections > 0, "silent connection, forwarder", "the same: the forwarder (private)", "KiB", forwarder, aimConnection)
	share, _ := r.Memory.forwarder()
	single(len(r.Memory.Forwarders) > 0, "forwarder at rest", fmt.Sprintf("the forwarder of a VM's ports at rest (PSS, %d of them, median)", len(r.Memory.Forwarders)),
		"KiB", share, aimForwarder)
	single(r.Memory.VMs > 0, "daemon, for each VM", fmt.Sprintf("daemon memory a VM (RSS, %d VMs)", r.Memory.VMs), "KiB", r.Memory.each(), aimMemory)
	return all
}

// silent is how long streams of all kinds were silent without a daemon.
func (r *report) silent() []float64 {
	s := r.Samples
	return slices.Concat(s["silent.session.killed"], s["silent.session.stopped"], s["silent.port.killed"], s["silent.port.stopped"])
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

// each is what a VM takes of the daemon's memory (RSS), in KiB.
func (m memoryReport) each() float64 {
	return float64(m.Full.RSS-m.Empty.RSS) / float64(max(1, m.VMs))
}

// forwarder is what the forwarder of a VM's ports takes, in KiB: its share of all memory that
// it uses (PSS), and what nobody else uses.
func (m memoryReport) forwarder() (share, own float64) {
	var shares, owns []float64
	for _, f := range m.Forwarders {
		shares, owns = append(shares, float64(f.PSS)), append(owns, float64(f.Private))
	}
	return median(shares), median(owns)
}

func (r *report) aimsTable(p *page) {
	p.say("\n## Aims")
	p.table("what", "measured", "aim", "")
	for _, a := range r.aims() {
		p.say("| %s | %s | ≤ %g %s | %s |", a.what, a.measured(), a.most, a.unit, a.value.verdict(a.most))
	}
}
