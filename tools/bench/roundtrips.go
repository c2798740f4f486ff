package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agentproto"
)

// The number of round trips of each kind, and the time limit.
const (
	bytesEach  = 300
	execsEach  = 40
	typedEach  = 20
	forksEach  = 100 // per measurement, inside the guest
	forksTimes = 5
	warmUp     = 5 // the guest's code is translated and its pages are read

	tripsLimit = 75 * time.Second
)

// roundTrip is one kind of round trip.
type roundTrip struct {
	name string
	once func() error
}

// roundTrips measures the round trip of a byte, and short commands, through banger and
// on a bare link to the agent. The two guests are equal and run all the time.
func (b *bench) roundTrips(ctx context.Context) error {
	bare, err := b.newBare(ctx, 0)
	if err != nil {
		return err
	}
	defer bare.close()
	vm, err := b.client.VMs().Create(ctx, b.request("trips", true), nil)
	if err != nil {
		return err
	}
	through := agentOf(b.client, vm.ID)
	if err := b.byteTrips(ctx, &bare.client, through); err != nil {
		return err
	}
	if err := b.execTrips(ctx, &bare.client, through, vm.Name); err != nil {
		return err
	}
	return b.client.VMs().Delete(ctx, vm.ID, true, nil)
}

// byteTrips measures the round trip of a byte: by the agent's echo, and through `cat`
// in a session.
func (b *bench) byteTrips(ctx context.Context, bare, through *guest.Client) error {
	var trips []roundTrip
	for _, way := range []struct {
		name string
		c    *guest.Client
	}{{"bare", bare}, {"banger", through}} {
		raw, err := openEcho(ctx, way.c)
		if err != nil {
			return err
		}
		defer raw.Close()
		cat, err := way.c.Exec(ctx, api.Exec{Argv: []string{"cat"}})
		if err != nil {
			return err
		}
		defer cat.Close()
		trips = append(trips,
			roundTrip{"echo." + way.name, func() error { return bounce(raw, raw) }},
			roundTrip{"cat." + way.name, func() error { return bounce(cat.Stdin, cat.Stdout) }})
	}
	return b.inTurns(trips, bytesEach)
}

// inTurns alternates between all kinds of round trips, many times.
func (b *bench) inTurns(trips []roundTrip, times int) error {
	began := time.Now()
	for i := range times + warmUp {
		if i > warmUp && b.enough(began, tripsLimit/2) {
			b.report.note("only %d of %d round trips fitted in the time", i-warmUp, times)
			return nil
		}
		for j := range trips {
			t := trips[(i+j)%len(trips)]
			began := time.Now()
			if err := t.once(); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			if i >= warmUp {
				b.report.add(t.name, time.Since(began))
			}
		}
	}
	return nil
}

func openEcho(ctx context.Context, c *guest.Client) (net.Conn, error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := agentproto.WriteMessage(conn, agentproto.Request{Op: agentproto.OpEcho}); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func bounce(w io.Writer, r io.Reader) error {
	var b [1]byte
	if _, err := w.Write([]byte{'x'}); err != nil {
		return err
	}
	_, err := io.ReadFull(r, b[:])
	return err
}

// execTrips measures a command that does nothing, from the call to its exit status, and
// the guest's own time for such a command.
func (b *bench) execTrips(ctx context.Context, bare, through *guest.Client, name string) error {
	err := b.inTurns([]roundTrip{
		{"true.bare", func() error { return runIn(ctx, bare, "true") }},
		{"true.banger", func() error { return runIn(ctx, through, "true") }},
	}, execsEach)
	if err != nil {
		return err
	}
	for range typedEach {
		began := time.Now()
		if out, err := b.cli(ctx, "vm", "exec", name, "--", "true").CombinedOutput(); err != nil {
			return fmt.Errorf("banger vm exec: %w: %s", err, out)
		}
		b.report.add("true.typed", time.Since(began))
	}
	for range forksTimes {
		for name, c := range map[string]*guest.Client{"true.guest": through, "true.guest-bare": bare} {
			d, err := forks(ctx, c)
			if err != nil {
				return err
			}
			b.report.add(name, d/forksEach)
		}
	}
	return nil
}

// forksScript prints the guest's uptime before and after it runs a command many
// times; proc_uptime(5) counts hundredths of a second.
var forksScript = fmt.Sprintf(`read a _ < /proc/uptime
for i in $(seq %d); do /bin/true; done
read b _ < /proc/uptime; echo $a $b`, forksEach)

// forks returns how long a shell in the guest takes for its commands.
func forks(ctx context.Context, c *guest.Client) (time.Duration, error) {
	s, err := c.Exec(ctx, api.Exec{Argv: []string{"sh", "-c", forksScript}})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	s.Stdin.Close()
	out, err := io.ReadAll(io.LimitReader(s.Stdout, 1<<10))
	if err != nil {
		return 0, err
	}
	from, to, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	a, errA := strconv.ParseFloat(from, 64)
	z, errZ := strconv.ParseFloat(to, 64)
	if errA != nil || errZ != nil {
		return 0, fmt.Errorf("the guest's shell printed %q", out)
	}
	return time.Duration((z - a) * float64(time.Second)), nil
}
