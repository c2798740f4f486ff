// Package lab contains the scenarios of the lab host: what system mode has to do on a
// machine with systemd, device-mapper and KVM. tools/lab runs them.
package lab

import (
	"context"
	"fmt"
	"time"

	"banger/test/lab/host"
)

// Lab is the lab host as used by a scenario. A method that detects a failure ends the
// scenario.
type Lab struct {
	// What scenarios are written with.
	*checks
	*shell
	*vms
	*installation

	// What the run of scenarios needs.
	machine  *host.Machine
	health   *health
	messages *messages
}

// newLab makes a Lab of a machine that has booted, without banger.
func newLab(c *checks, machine *host.Machine, conn *host.Conn, driver string) *Lab {
	s := &shell{checks: c, conn: conn}
	v := &vms{checks: c, shell: s, driver: driver}
	h := newHealth(c, s)
	return &Lab{
		checks: c, shell: s, vms: v,
		installation: &installation{checks: c, shell: s, vms: v},
		machine:      machine,
		health:       h,
		messages:     &messages{checks: c, shell: s, health: h, machine: machine},
	}
}

// Reboot reboots the lab host in an orderly way and returns when it is up again.
func (l *Lab) Reboot() { l.again("reboot", l.machine.Reboot) }

// Cut cuts the lab host's power, boots it, and returns when it is up again.
func (l *Lab) Cut() { l.again("power cut", l.machine.Cut) }

func (l *Lab) again(what string, do func(context.Context) error) {
	fmt.Fprintf(l.script, "%s %s\n", time.Now().Format("15:04:05"), what)
	l.health.boot(func() {
		l.conn.Close()
		err := do(l.ctx)
		if err == nil {
			l.conn, err = l.machine.Connect(l.ctx)
		}
		if err != nil {
			l.Failf("%s: %v", what, err)
		}
		l.Run(traceEnds)
	})
}
