// Package tasks holds what continues in the background of the service of VMs until the daemon ends.
package tasks

import (
	"context"
	"sync"
)

// Group is a number of goroutines that end with the daemon.
type Group struct {
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// New returns an empty group.
func New() *Group {
	ctx, stop := context.WithCancel(context.Background())
	return &Group{ctx: ctx, stop: stop}
}

// Context ends with the group.
func (g *Group) Context() context.Context { return g.ctx }

// Go calls f in a goroutine of the group: f must return soon after the group's context has ended.
func (g *Group) Go(f func()) { g.wg.Go(f) }

// Stop ends the group's context. It does not wait.
func (g *Group) Stop() { g.stop() }

// Wait waits until all goroutines of the group have ended.
func (g *Group) Wait() { g.wg.Wait() }
