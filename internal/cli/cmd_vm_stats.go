package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

const statsColumns = `CPU is the share of one core that the VMM used between two looks. HOST MEM is what the
VMM takes of this machine: "pss" counts pages that it shares with other processes in
parts; "cgroup", in system mode, is what the kernel charges to the VM's unit, cached
pages of files included. GUEST MEM is used and total memory as the guest sees it. DISK
is what the VM's disk occupies of its size, BASE the image's file below it, which VMs
share. RX and TX are bytes and packets that the guest has received and sent.

A guest that does not answer within a second has a row that says so.`

func newVMStats(a *app) *cobra.Command {
	s := statsCommand{a: a}
	cmd := &cobra.Command{
		Use:   "stats [NAME...]",
		Short: "Show what VMs use of processor, memory, disk and network",
		Long: `Show what VMs use, or all running VMs.

` + statsColumns + `

With --follow, look again at every interval: on a terminal in place, elsewhere one
table after another, and with --json one object per line.`,
		Example:           "  banger vm stats\n  banger vm stats dev web\n  banger vm stats --json dev\n  banger vm stats -f --interval 500ms",
		Args:              arguments(0, -1, "names of VMs, or none"),
		ValidArgsFunction: completeArgs(-1, vmNames),
		RunE:              s.run,
	}
	s.flags(cmd)
	cmd.Flags().BoolVarP(&s.follow, "follow", "f", false, "look again and again, until Ctrl-C")
	return cmd
}

// statsCommand is one `vm stats` or `top`.
type statsCommand struct {
	a              *app
	asJSON, follow bool
	interval       time.Duration
}

const (
	// The bounds of --interval: a look takes a ms of processor time for each VM.
	leastInterval, mostInterval = 200 * time.Millisecond, time.Hour
	// followInterval is the default of --interval, and betweenLooks how long it is from the first
	// look to the first output.
	followInterval = 2 * time.Second
	betweenLooks   = time.Second
)

func (s *statsCommand) flags(cmd *cobra.Command) {
	addJSON(cmd, &s.asJSON)
	cmd.Flags().DurationVar(&s.interval, "interval", followInterval, "the time between two looks, from 200ms to 1h")
}

func (s *statsCommand) run(cmd *cobra.Command, names []string) error {
	if s.interval < leastInterval || s.interval > mostInterval {
		return usagef(cmd, "cannot look every %s: --interval takes from %s to 1h", s.interval, leastInterval)
	}
	c, err := s.a.client()
	if err != nil {
		return err
	}
	first := betweenLooks
	if cmd.Flags().Changed("interval") {
		first = s.interval
	}
	err = s.look(cmd.Context(), c, names, first)
	if sig := s.a.signals.signal(); s.follow && sig != 0 {
		return statusError(128 + int(sig))
	}
	return err
}

// look prints what the VMs use between two looks, and if requested again and again.
func (s *statsCommand) look(ctx context.Context, c *client.Client, names []string, first time.Duration) error {
	before, err := c.VMs().Stats(ctx, names...)
	if err != nil {
		return olderDaemon(err, "/v1/stats", "vm stats")
	}
	refs := make([]string, 0, len(names))
	for _, vm := range before.Stats {
		if vm.ID == "" {
			return vm.Error
		}
		if len(names) > 0 { // another VM may have its name later
			refs = append(refs, vm.ID)
		}
	}
	show := s.a.newDisplay(s.follow && !s.asJSON)
	defer show.end()
	for pause := first; len(before.Stats) > 0 || s.follow; pause = s.interval {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		now, err := c.VMs().Stats(ctx, refs...)
		if err != nil {
			return err
		}
		nameGone(now.Stats, before.Stats)
		if err := s.print(show, now, before); err != nil || !s.follow {
			return err
		}
		before = now
	}
	if s.asJSON {
		return s.print(show, before, before)
	}
	s.a.std.note("no VM is running; `banger vm list` shows all")
	return nil
}

// nameGone gives VMs that were deleted since the look before their names, and says so: they were
// asked for by id.
func nameGone(now, before []api.VMStats) {
	for i, vm := range now {
		if vm.ID != "" {
			continue
		}
		at := slices.IndexFunc(before, func(was api.VMStats) bool { return cmp.Or(was.ID, was.Name) == vm.Name })
		if at < 0 {
			continue
		}
		// Its id stays, so that the next look finds it by that again.
		now[i] = api.VMStats{ID: vm.Name, Name: before[at].Name, State: api.StateDeleted}
	}
}

// vmStats is what a VM uses, with its share of a core.
type vmStats struct {
	api.VMStats
	CPUPercent *float64 `json:"cpu_percent,omitempty"`
}

// withShares adds the processor shares since the look before.
func withShares(now, before api.StatsList) []vmStats {
	all := []vmStats{}
	for _, vm := range now.Stats {
		row := vmStats{VMStats: vm}
		at := slices.IndexFunc(before.Stats, func(was api.VMStats) bool { return was.ID == vm.ID })
		if at >= 0 {
			if percent, ok := vm.CPUPercent(before.Stats[at]); ok {
				percent = math.Round(percent*100) / 100
				row.CPUPercent = &percent
			}
		}
		all = append(all, row)
	}
	return all
}

func (s *statsCommand) print(show *display, now, before api.StatsList) error {
	rows := withShares(now, before)
	if s.asJSON && s.follow {
		return json.NewEncoder(s.a.std.out).Encode(struct {
			Format int       `json:"format"`
			At     time.Time `json:"at"`
			Stats  []vmStats `json:"stats"`
		}{api.Version, now.At, rows})
	}
	if s.asJSON {
		return printJSON(s.a.std.out, "", struct {
			At    time.Time `json:"at"`
			Stats []vmStats `json:"stats"`
		}{now.At, rows})
	}
	var text bytes.Buffer
	if err := statsTable(rows, now.At).write(&text); err != nil {
		return err
	}
	return show.draw(text.String())
}

func statsTable(rows []vmStats, now time.Time) *table {
	t := newTable("NAME", "STATE", "CPU", "HOST MEM", "GUEST MEM", "DISK", "BASE", "RX", "TX", "UP", "SESSIONS", "NOTE")
	for _, vm := range rows {
		cells := []string{vm.Name, string(vm.State), "-", "-", "-", "-", "-", "-", "-", "-", "-", noteOf(vm.VMStats)}
		if vm.CPUPercent != nil {
			cells[2] = fmt.Sprintf("%.1f%%", *vm.CPUPercent)
		}
		if vm.Host != nil && vm.Host.Memory != nil {
			cells[3] = size.Format(vm.Host.Memory.Bytes) + " " + vm.Host.Memory.Source
		}
		if d := vm.Disk; d != nil {
			cells[5] = size.Format(d.UsedBytes) + "/" + size.Format(d.TotalBytes)
		}
		if vm.Base != nil {
			cells[6] = size.Format(vm.Base.Bytes)
		}
		if vm.StartedAt != nil && vm.Host != nil {
			cells[9] = uptime(now.Sub(*vm.StartedAt))
		}
		if g := vm.Guest; g != nil {
			cells[4] = size.Format(g.MemoryUsedBytes) + "/" + size.Format(g.MemoryBytes)
			if n := g.Network; n != nil && n.Device != "" {
				cells[7], cells[8] = traffic(n.RxBytes, n.RxPackets), traffic(n.TxBytes, n.TxPackets)
			}
			cells[9] = uptime(time.Duration(min(g.UptimeSeconds, maxUptime)) * time.Second)
			cells[10] = fmt.Sprint(g.Sessions)
		}
		t.add(cells...)
	}
	return t
}

// noteOf returns what is to be said of a VM beside its numbers.
func noteOf(vm api.VMStats) string {
	var notes []string
	if vm.Doing != "" {
		notes = append(notes, vm.Doing)
	}
	if vm.Reason != "" {
		notes = append(notes, vm.Reason)
	}
	if vm.Error != nil && (vm.Reason == "" || vm.State != api.StatePaused) {
		notes = append(notes, vm.Error.Message)
	}
	return strings.Join(notes, "; ")
}

func traffic(bytes, packets int64) string { return fmt.Sprintf("%s (%d)", size.Format(bytes), packets) }

// maxUptime bounds what a guest may say, in seconds: a time.Duration holds 292 years.
const maxUptime = 100 * 365 * 24 * 3600

// uptime returns a duration with its two largest units.
func uptime(d time.Duration) string {
	d = max(d, 0)
	days, hours, minutes := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60
	switch {
	case days > 0:
		return fmt.Sprintf("%dd%dh", days, hours)
	case hours > 0:
		return fmt.Sprintf("%dh%dm", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%dm%ds", minutes, int(d.Seconds())%60)
	}
	return fmt.Sprintf("%ds", int(d.Seconds()))
}
