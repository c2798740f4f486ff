package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"banger/api"

	"github.com/spf13/cobra"
)

func newVMPing(a *app) *cobra.Command {
	p := pinging{a: a}
	cmd := &cobra.Command{
		Use:   "ping NAME",
		Short: "Measure the round trip to the agent of a VM",
		Long: `Send 56 bytes to the agent in a VM, again and again, and print how long each takes to
come back: through the daemon, the VM's link and the guest's kernel, without the guest's
network. Ctrl-C ends it, and prints statistics as ping(8) does: mdev is the standard
deviation.

The exit status is 1 if no answer came. With --json each line is an object, the last
one with the statistics.`,
		Example:           "  banger vm ping dev\n  banger vm ping -c 5 -i 200ms dev\n  banger vm ping --json -c 1 dev",
		Args:              arguments(1, 1, "the name of one VM"),
		ValidArgsFunction: completeArgs(1, vmNames),
		RunE:              p.run,
	}
	addJSON(cmd, &p.asJSON)
	flags := cmd.Flags()
	flags.IntVarP(&p.count, "count", "c", 0, "end after `N` pings (default: at Ctrl-C)")
	flags.DurationVarP(&p.interval, "interval", "i", time.Second, "the time between two pings, from 10ms to 1h")
	flags.DurationVarP(&p.timeout, "timeout", "W", 5*time.Second, "how long to wait for each answer, from 10ms to 1h")
	return cmd
}

// pinging is one `vm ping`.
type pinging struct {
	a                 *app
	asJSON            bool
	count             int
	interval, timeout time.Duration

	name string
	round
}

// The bounds of --interval and --timeout.
const leastPing, mostPing = 10 * time.Millisecond, time.Hour

func (p *pinging) run(cmd *cobra.Command, args []string) error {
	if cmd.Flags().Changed("count") && p.count < 1 {
		return usagef(cmd, "cannot ping %d times: --count takes at least 1", p.count)
	}
	for flag, value := range map[string]time.Duration{"interval": p.interval, "timeout": p.timeout} {
		if value < leastPing || value > mostPing {
			return usagef(cmd, "cannot use --%s %s: it takes from %s to 1h", flag, value, leastPing)
		}
	}
	c, err := p.a.client()
	if err != nil {
		return err
	}
	vm, err := c.VMs().Show(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	if vm.State != api.StateRunning && vm.State != api.StatePaused {
		return api.Errorf(api.KindConflict, "VM %s is not running (%s)", vm.Name, vm.State).WithHint("banger vm start %s", vm.Name)
	}
	p.name = vm.Name
	ctx, g, began := cmd.Context(), c.Guest(vm.ID), time.Now()
	err = p.each(ctx, g.Ping)
	if err == nil {
		err = p.printStatistics(time.Since(began))
	}
	if err == nil && p.received == 0 {
		err = statusError(exitFailed)
	}
	return err
}

// each pings until ctx ends or enough were sent. It fails if the output cannot be written.
func (p *pinging) each(ctx context.Context, ping func(context.Context) (time.Duration, error)) error {
	next := time.NewTicker(p.interval)
	defer next.Stop()
	for seq := 1; ; seq++ {
		within, cancel := context.WithTimeoutCause(ctx, p.timeout, fmt.Errorf("not within %s", p.timeout))
		took, err := ping(within)
		cancel()
		if ctx.Err() != nil {
			return nil // it is not lost: nobody has waited for it
		}
		p.add(took, err == nil)
		if err := p.printOne(seq, took, err); err != nil {
			return err
		}
		if seq == p.count || api.KindOf(err) == api.KindNotFound { // the VM was deleted
			return nil
		}
		select {
		case <-next.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// pingLine is one line of `vm ping --json`.
type pingLine struct {
	Format     int             `json:"format"`
	VM         string          `json:"vm"`
	Seq        int             `json:"seq,omitempty"`
	MS         *float64        `json:"ms,omitempty"`
	Error      *api.Error      `json:"error,omitempty"`
	Statistics *pingStatistics `json:"statistics,omitempty"`
}

// pingStatistics are those of a `vm ping`. The times are missing if no answer came.
type pingStatistics struct {
	Sent        int      `json:"sent"`
	Received    int      `json:"received"`
	LossPercent float64  `json:"loss_percent"`
	MinMS       *float64 `json:"min_ms,omitempty"`
	AvgMS       *float64 `json:"avg_ms,omitempty"`
	MaxMS       *float64 `json:"max_ms,omitempty"`
	MdevMS      *float64 `json:"mdev_ms,omitempty"`
}

func (p *pinging) printOne(seq int, took time.Duration, failure error) error {
	if p.asJSON {
		line := pingLine{Format: api.Version, VM: p.name, Seq: seq, Error: api.AsError(failure)}
		if failure == nil {
			ms := milliseconds(took)
			line.MS = &ms
		}
		return json.NewEncoder(p.a.std.out).Encode(line)
	}
	text := fmt.Sprintf("answer from %s: seq=%d time=%.3f ms\n", p.name, seq, milliseconds(took))
	if failure != nil {
		text = fmt.Sprintf("no answer from %s: seq=%d: %s\n", p.name, seq, printable(failure.Error()))
	}
	_, err := io.WriteString(p.a.std.out, text)
	return err
}

func (p *pinging) printStatistics(took time.Duration) error {
	s := p.statistics()
	if p.asJSON {
		return json.NewEncoder(p.a.std.out).Encode(pingLine{Format: api.Version, VM: p.name, Statistics: &s})
	}
	text := fmt.Sprintf("\n--- %s ping statistics ---\n%d sent, %d received, %.4g%% loss, time %d ms\n", p.name, s.Sent, s.Received, s.LossPercent, took.Milliseconds())
	if s.Received > 0 {
		text += fmt.Sprintf("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", *s.MinMS, *s.AvgMS, *s.MaxMS, *s.MdevMS)
	}
	_, err := io.WriteString(p.a.std.out, text)
	return err
}

// round collects the times of pings, in ms.
type round struct {
	sent, received              int
	least, most, sum, squareSum float64
}

func (r *round) add(took time.Duration, answered bool) {
	r.sent++
	if !answered {
		return
	}
	ms := milliseconds(took)
	if r.received == 0 || ms < r.least {
		r.least = ms
	}
	r.received++
	r.most = max(r.most, ms)
	r.sum += ms
	r.squareSum += ms * ms
}

func (r *round) statistics() pingStatistics {
	s := pingStatistics{Sent: r.sent, Received: r.received}
	if r.sent > 0 {
		s.LossPercent = 100 * float64(r.sent-r.received) / float64(r.sent)
	}
	if r.received > 0 {
		n := float64(r.received)
		avg := r.sum / n
		mdev := math.Sqrt(max(0, r.squareSum/n-avg*avg)) // as ping(8) computes it
		s.MinMS, s.AvgMS, s.MaxMS, s.MdevMS = &r.least, &avg, &r.most, &mdev
	}
	return s
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
