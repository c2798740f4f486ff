package observe

import (
	"context"
	"fmt"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/guest"
	"banger/internal/guest/agentproto"
	"banger/internal/size"
	"banger/internal/vm/instance"
	"banger/internal/vm/records"
)

// healthTime bounds the wait for a guest whose health is asked for, for each of two requests.
const healthTime = 3 * time.Second

// checkup is one look at the parts of a VM. A part that another has to be right for is unknown otherwise.
type checkup struct {
	o    *Observer
	at   records.Snapshot
	v    api.VM
	seen *seen              // nil while no VMM runs
	said *agentproto.Health // nil if the agent has not answered
}

// Health looks at each part of a VM.
func (o *Observer) Health(ctx context.Context, ref string) (api.VMHealth, error) {
	at, err := o.table.Look(ref)
	if err != nil {
		return api.VMHealth{}, err
	}
	c := &checkup{o: o, at: at, v: at.View()}
	if at.Run != nil {
		c.seen = o.of(at.Run, c.v.ID)
	}
	h := api.VMHealth{ID: c.v.ID, Name: c.v.Name, Well: true}
	for _, part := range []struct {
		name string
		look func(context.Context) api.VMPart
	}{
		{api.PartVMM, c.vmm}, {api.PartLink, c.link}, {api.PartAgent, c.agent}, {api.PartClock, c.clock}, {api.PartDisk, c.disk}, {api.PartNetwork, c.network},
	} {
		p := part.look(ctx)
		p.Name = part.name
		h.Well = h.Well && p.Status != api.PartWrong
		h.Parts = append(h.Parts, p)
	}
	return h, nil
}

func fine(format string, args ...any) api.VMPart {
	return api.VMPart{Status: api.PartOK, Found: fmt.Sprintf(format, args...)}
}

func unknown(found string) api.VMPart { return api.VMPart{Status: api.PartUnknown, Found: found} }

func wrong(found, fix string) api.VMPart {
	return api.VMPart{Status: api.PartWrong, Found: found, Fix: fix}
}

const (
	notWhileStopped  = "not known while the VM does not run"
	notWithoutAnswer = "not known: the agent does not answer"
	olderAgent       = "not known: the guest's agent is older and does not say; it is replaced at the VM's next start"
)

func (c *checkup) vmm(ctx context.Context) api.VMPart {
	v := c.v
	switch {
	case c.at.Run == nil && c.at.Recovering:
		return wrong("banger does not know yet whether it runs: the VM is being recovered", "banger vm health "+v.Name+"   in some seconds")
	case c.at.Run == nil && c.at.Busy != "":
		return wrong(fmt.Sprintf("does not run: banger is %s the VM", api.ActionOf(c.at.Busy).Doing), "banger vm health "+v.Name+"   in some seconds")
	case c.at.Run == nil && v.Reason != "":
		return wrong(fmt.Sprintf("does not run: the VM is %s (%s)", v.State, v.Reason), "banger vm start "+v.Name)
	case c.at.Run == nil:
		return wrong(fmt.Sprintf("does not run: the VM is %s", v.State), "banger vm start "+v.Name)
	case c.at.Run.Stalled():
		return wrong("paused: the disk of this host is full", "banger image prune   or free other space: the VM then continues, and loses nothing")
	}
	if c.v.State == api.StatePaused {
		return wrong("paused", "banger vm resume "+v.Name)
	}
	if suspended(c.at.Run) {
		return wrong("suspended by a signal", fmt.Sprintf("kill -CONT %d", c.at.Run.Machine().PID()))
	}
	if why := c.at.Run.Standing(ctx); why != "" {
		return wrong("paused: "+why, "banger vm restart "+v.Name)
	}
	return fine("%s runs, process %d", v.Driver, c.at.Run.Machine().PID())
}

func (c *checkup) link(context.Context) api.VMPart {
	if c.seen == nil {
		return unknown(notWhileStopped)
	}
	select {
	case <-c.at.Run.Up():
	default:
		return wrong("the guest has not answered since its start: it boots, or it hangs", "banger vm logs "+c.v.Name)
	}
	if !c.at.Run.Linked() {
		return wrong("the connection to the guest's agent is broken; banger tries again every few seconds", "banger vm logs "+c.v.Name)
	}
	return fine("connected to the guest's agent")
}

func (c *checkup) agent(ctx context.Context) api.VMPart {
	if c.seen == nil {
		return unknown(notWhileStopped)
	}
	if !c.at.Run.Linked() {
		return unknown("not known without the link")
	}
	if c.v.State == api.StatePaused {
		return unknown("not known while the VM is paused")
	}
	began := time.Now()
	q, _ := c.o.ask(c.seen)
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	select {
	case <-q.done:
	case <-ctx.Done():
		return wrong(fmt.Sprintf("has not answered within %s: the guest is busy, or it hangs", healthTime), fmt.Sprintf("banger vm logs %[1]s   and if it hangs: banger vm restart %[1]s", c.v.Name))
	}
	if q.err != nil {
		return wrong("does not answer: "+q.err.Error(), "banger vm restart "+c.v.Name)
	}
	c.seen.take(q)
	c.said = &q.health
	return fine("version %.40q answers in %s; sessions: %d", q.health.Version, time.Since(began).Round(10*time.Microsecond), max(0, q.health.Sessions))
}

// clockOff is how far off a guest's clock may be: the daemon corrects it every ten seconds to within
// milliseconds, and this leaves room for the drift of an emulated guest.
const clockOff = 100 * time.Millisecond

func (c *checkup) clock(ctx context.Context) api.VMPart {
	if c.seen == nil {
		return unknown(notWhileStopped)
	}
	if c.said == nil {
		return unknown(notWithoutAnswer)
	}
	ctx, cancel := context.WithTimeout(guest.Aside(ctx), healthTime)
	defer cancel()
	client := &guest.Client{Dial: c.at.Run.Open}
	state, err := client.Clock(ctx)
	if err == nil && state.Ahead.Abs() > clockOff { // the guest may just have been busy
		state, err = client.Clock(ctx)
	}
	if api.KindOf(err) == api.KindUnsupported {
		return unknown("not known: " + err.Error())
	}
	if err != nil {
		return unknown(notWithoutAnswer)
	}
	off, within := state.Ahead.Abs(), state.Within.Round(10*time.Microsecond)
	which := "ahead"
	if state.Ahead < 0 {
		which = "behind"
	}
	switch {
	case off <= clockOff || off <= state.Within:
		return fine("%s %s, with an error of %s at most", off.Round(10*time.Microsecond), which, within)
	case state.Own:
		return wrong(fmt.Sprintf("%s %s, and a program in the guest keeps it", off.Round(time.Millisecond), which), "banger vm exec "+c.v.Name+" -- date")
	}
	return wrong(fmt.Sprintf("%s %s", off.Round(time.Millisecond), which), "banger vm health "+c.v.Name+"   in ten seconds: banger corrects the clock by then")
}

// fullPercent is the free part, in percent, below which a guest's disk counts as full.
const fullPercent = 1

func (c *checkup) disk(ctx context.Context) api.VMPart {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	name, usage := c.v.Name, c.o.DiskUsage(ctx, c.v)
	switch {
	case usage != nil && usage.Broken != "":
		return wrong(usage.Broken, "banger vm show "+name)
	case c.at.Run != nil && c.at.Run.Stalled():
		return wrong("the disk of this host is full", "banger image prune")
	case c.at.Run != nil && c.at.Run.DiskTrouble() != "":
		return wrong(c.at.Run.DiskTrouble(), "banger image prune")
	}
	text := "what it takes of this host is not known"
	if usage != nil {
		text = fmt.Sprintf("takes %s of this host", size.Format(usage.UsedBytes))
	}
	if c.said == nil || c.said.Disk == nil {
		return fine("%s", text)
	}
	d := guestStats(*c.said, 0).Disk
	free := fmt.Sprintf("%s of %s are free in the guest", size.Format(d.AvailableBytes), size.Format(d.Bytes))
	if d.Bytes > 0 && d.AvailableBytes < d.Bytes/100*fullPercent {
		return wrong(free, fmt.Sprintf("remove files in it, or enlarge it: banger vm stop %[1]s; banger vm set %[1]s --disk SIZE; banger vm start %[1]s", name))
	}
	return fine("%s; %s", text, free)
}

func (c *checkup) network(context.Context) api.VMPart {
	name := c.v.Name
	switch {
	case c.v.Network == api.NetworkNone:
		return fine("none, as requested at the VM's creation")
	case c.seen == nil:
		return unknown(notWhileStopped)
	case c.said == nil:
		return unknown(notWithoutAnswer)
	case c.said.Network == nil:
		return unknown(olderAgent)
	}
	n := guestStats(*c.said, 0).Network
	switch {
	case n.Device == "":
		return wrong("the guest has no network device", "banger vm logs "+name)
	case !n.Up:
		return wrong(fmt.Sprintf("%q of the guest is down", n.Device), fmt.Sprintf("banger vm restart %s   or set it up in the guest: ip link set %s up", name, interfaceName))
	}
	return fine("%q of the guest is up: %s received, %s sent", n.Device, size.Format(n.RxBytes), size.Format(n.TxBytes))
}

// interfaceName is the device that the agent sets up, whatever it says.
const interfaceName = "eth0"

// suspended reports whether a signal has suspended the VMM of an instance.
func suspended(run *instance.Instance) bool {
	m, ok := run.Machine().(driver.Meter)
	return ok && m.Suspended()
}
