package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/host/proc"
)

const (
	crowdConns   = 60      // through a published port, fewer than a guest of 128 MiB can handle
	crowdCarries = 1 << 20 // bytes in each direction, before the connection is silent
	bulkStreams  = 16
	bulkEchoes   = 100
	// restTime is how long agent and forwarder get to release memory.
	restTime = 15 * time.Second
)

// crowdReport is the memory of connections through a published port, in KiB.
type crowdReport struct {
	Connections   int    `json:"connections"`
	ForwarderIdle memory `json:"forwarder_idle"`
	ForwarderFull memory `json:"forwarder_full"`
	AgentIdleKiB  int64  `json:"agent_idle_kib"` // resident
	AgentFullKiB  int64  `json:"agent_full_kib"`
}

// ofConnection returns the memory of one connection in the agent and in the forwarder,
// in KiB.
func (c crowdReport) ofConnection() (agent, forwarder float64) {
	n := float64(max(1, c.Connections))
	return float64(c.AgentFullKiB-c.AgentIdleKiB) / n, float64(c.ForwarderFull.Private-c.ForwarderIdle.Private) / n
}

// crowd measures the memory of silent connections, and the round trip of a byte beside
// streams that carry as much as they can.
func (b *bench) crowd(ctx context.Context) error {
	request := b.request("crowd", true)
	request.Publish = publishEcho
	vm, err := b.client.VMs().Create(ctx, request, nil)
	if err != nil {
		return err
	}
	agent := agentOf(b.client, vm.ID)
	server, err := agent.Exec(ctx, api.Exec{Argv: []string{"busybox", "nc", "-ll", "-p", strconv.Itoa(echoPort), "-e", "cat"}})
	if err != nil {
		return err
	}
	defer server.Close()
	first, err := dialEcho(ctx, vm.Publish[0].HostPort)
	if err != nil {
		return err
	}
	first.Close()
	if err := b.silentConns(ctx, agent, vm); err != nil {
		return err
	}
	for name, argv := range map[string][]string{"downloads": {"cat", "/dev/zero"}, "uploads": {"sh", "-c", "cat > /dev/null"}} {
		if err := b.echoBeside(ctx, agent, name, argv); err != nil {
			return err
		}
	}
	return b.client.VMs().Delete(ctx, vm.ID, true, nil)
}

// silentConns measures the memory without connections, and with many that have carried
// data and are silent.
func (b *bench) silentConns(ctx context.Context, agent *guest.Client, vm api.VM) error {
	forwarder, err := forwarderOf(ctx, vm.ID)
	if err != nil {
		return err
	}
	c := &b.report.Crowd
	c.Connections = crowdConns
	if c.AgentIdleKiB, c.ForwarderIdle, err = atRest(ctx, agent, forwarder); err != nil {
		return err
	}
	conns := make([]net.Conn, crowdConns)
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
	}()
	errs := make([]error, crowdConns)
	var all sync.WaitGroup
	for i := range conns {
		if conns[i], err = dialEcho(ctx, vm.Publish[0].HostPort); err != nil {
			return err
		}
		all.Go(func() {
			go func() { _, _ = conns[i].Write(make([]byte, crowdCarries)) }()
			_, errs[i] = io.CopyN(io.Discard, conns[i], crowdCarries)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	c.AgentFullKiB, c.ForwarderFull, err = atRest(ctx, agent, forwarder)
	return err
}

// atRest returns the least memory of agent and forwarder within restTime.
func atRest(ctx context.Context, agent *guest.Client, forwarder int) (agentKiB int64, m memory, err error) {
	for began := time.Now(); time.Since(began) < restTime; {
		select {
		case <-time.After(restTime / 4): // a measurement transfers bytes, so it is rare
		case <-ctx.Done():
			return 0, m, context.Cause(ctx)
		}
		health, err := agent.Health(ctx)
		if err != nil {
			return 0, m, err
		}
		now, err := smaps(forwarder)
		if err != nil {
			return 0, m, err
		}
		if kib := health.AgentMemoryBytes >> 10; agentKiB == 0 || kib < agentKiB {
			agentKiB = kib
		}
		if m.Private == 0 || now.Private < m.Private {
			m = now
		}
	}
	return agentKiB, m, nil
}

// forwarderOf finds the process that serves a VM's ports.
func forwarderOf(ctx context.Context, id string) (int, error) {
	found, err := proc.Find(ctx, func(args []string) bool {
		return slices.Contains(args, "banger-forwarder") && slices.Contains(args, "vm="+id)
	})
	if err != nil {
		return 0, err
	}
	for _, p := range found {
		defer p.Close()
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("%d processes serve the ports of VM %s", len(found), id)
	}
	return found[0].PID(), nil
}

// echoBeside measures the round trip of a byte through `cat`, beside streams that carry
// as much as they can.
func (b *bench) echoBeside(ctx context.Context, agent *guest.Client, name string, argv []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	echo, err := agent.Exec(ctx, api.Exec{Argv: []string{"cat"}})
	if err != nil {
		return err
	}
	defer echo.Close()
	for range bulkStreams {
		s, err := agent.Exec(ctx, api.Exec{Argv: argv})
		if err != nil {
			return err
		}
		defer s.Close()
		go func() { _, _ = io.Copy(io.Discard, s.Stdout) }()
		if name == "uploads" {
			go func() {
				for block := make([]byte, 64<<10); ; {
					if _, err := s.Stdin.Write(block); err != nil {
						return
					}
				}
			}()
		}
	}
	for i := range bulkEchoes + warmUp {
		began := time.Now()
		if err := bounce(echo.Stdin, echo.Stdout); err != nil {
			return err
		}
		if i >= warmUp {
			b.report.add("echo."+name, time.Since(began))
		}
	}
	return nil
}
