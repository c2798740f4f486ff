package main

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"banger/internal/buildinfo"
	"banger/internal/guest/agent"
	"banger/internal/guest/agent/process"
	"banger/internal/guest/agent/transport"
)

// serve serves every port named lab.N until ctx ends. udev creates the links before the
// unit starts.
func serve(ctx context.Context) error {
	names, err := filepath.Glob("/dev/virtio-ports/lab.*")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return errors.New("this machine has no port lab.N: it is not a lab host")
	}
	// One process has one reaper.
	reaper := process.NewReaper(false)
	reaping, stopReaper := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { reaper.Run(reaping) })
	var serving sync.WaitGroup
	failed := make([]error, len(names))
	for i, name := range names {
		port, err := transport.OpenPort(name)
		if err != nil {
			stopReaper()
			return err
		}
		defer port.Close()
		serving.Go(func() {
			failed[i] = agent.Serve(ctx, agent.Options{Version: buildinfo.Get().Version, Reaper: reaper}, port)
		})
	}
	serving.Wait()
	stopReaper()
	work.Wait()
	return errors.Join(failed...)
}
