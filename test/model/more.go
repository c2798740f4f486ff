package model

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"banger/api"
)

// guestPort is what a track's ports lead to; nobody listens there.
func guestPort(port int) int { return 1 + port }

func (w *world) published(s *step) api.PublishedPort { return w.port(s.track, s.port) }

// port is one of those that VMs of a track publish.
func (w *world) port(track, port int) api.PublishedPort {
	return api.PublishedPort{Address: address, HostPort: w.ports[track][port], GuestPort: guestPort(port), Protocol: "tcp"}
}

// address is one of this machine that no other run of the model has: each process its own.
var address = fmt.Sprintf("127.%d.%d.%d", os.Getpid()>>16&255, os.Getpid()>>8&255, os.Getpid()&255)

func portDetail(s *step) string { return fmt.Sprintf("port %d", s.port) }

func opPublish() *operation {
	return &operation{
		name: "publish", weight: 4, claims: true, detail: portDetail,
		run: func(ctx context.Context, w *world, s *step) outcome {
			return told(w.client.VMs().Publish(ctx, w.vmName(s.track, s.name), api.PublishVM{Add: []api.PublishedPort{w.published(s)}}))
		},
		cli: func(w *world, s *step) []string {
			return []string{"vm", "publish", w.vmName(s.track, s.name), w.published(s).String()}
		},
		done: func(s state, e *event) []state {
			v := s.vm[e.name]
			bit := uint8(1) << e.port
			taken := v.ports&bit == 0 && v.phase == running && s.portTaken(e.name, bit)
			if v.phase == absent || taken && !e.besideClaim() {
				return nil
			}
			v.ports |= bit
			return []state{s.with(e.name, v)}
		},
		failed: func(s state, e *event) []state {
			v := s.vm[e.name]
			bit := uint8(1) << e.port
			switch {
			case e.is(api.KindNotFound):
				return only(v.phase == absent, s)
			case v.phase == absent:
				return nil
			case e.is(api.KindConflict):
				return only(v.phase == running && s.portTaken(e.name, bit|v.ports) || e.besideClaim() || e.besides("kill -9 VMM"), s)
			}
			return only(e.out.full, s)
		},
	}
}

func opUnpublish() *operation {
	return &operation{
		name: "unpublish", weight: 3, claims: true, detail: portDetail,
		run: func(ctx context.Context, w *world, s *step) outcome {
			return told(w.client.VMs().Publish(ctx, w.vmName(s.track, s.name), api.PublishVM{Remove: []api.PublishedPort{w.published(s)}}))
		},
		done: func(s state, e *event) []state {
			v := s.vm[e.name]
			bit := uint8(1) << e.port
			if v.phase == absent || v.ports&bit == 0 {
				return nil
			}
			v.ports &^= bit
			return []state{s.with(e.name, v)}
		},
		failed: func(s state, e *event) []state {
			v := s.vm[e.name]
			switch {
			case e.says("does not publish"):
				return only(v.phase != absent && v.ports&(1<<e.port) == 0, s)
			case e.is(api.KindNotFound):
				return only(v.phase == absent, s)
			case e.is(api.KindConflict): // what stays published is taken
				return only(v.phase == running && s.portTaken(e.name, v.ports) || e.besideClaim(), s)
			}
			return only(e.out.full, s)
		},
	}
}

func opRename() *operation {
	return &operation{
		name: "rename", weight: 4, claims: true,
		run: func(ctx context.Context, w *world, s *step) outcome {
			return told(w.client.VMs().Rename(ctx, w.vmName(s.track, s.name), w.vmName(s.track, 1-s.name)))
		},
		cli: func(w *world, s *step) []string {
			return []string{"vm", "rename", w.vmName(s.track, s.name), w.vmName(s.track, 1-s.name)}
		},
		done: func(s state, e *event) []state {
			v, other := s.vm[e.name], s.vm[1-e.name]
			return only(v.phase != absent && other.phase == absent, s.with(1-e.name, v).with(e.name, vm{}))
		},
		failed: func(s state, e *event) []state {
			switch {
			case e.is(api.KindNotFound):
				return only(s.vm[e.name].phase == absent, s)
			case e.is(api.KindExists):
				return only(s.vm[e.name].phase != absent && (s.vm[1-e.name].phase != absent || e.besidesTaking(1-e.name)), s)
			}
			return only(e.out.full, s)
		},
	}
}

func imageName(track int) string { return fmt.Sprintf("model-t%d", track) }

func opCommit() *operation {
	return &operation{
		name: "commit", mayUndo: isIdle, weight: 1, claims: true,
		run: func(ctx context.Context, w *world, s *step) outcome {
			_, err := w.client.VMs().Commit(ctx, w.vmName(s.track, s.name), api.CommitVM{Name: imageName(s.track)}, nil)
			return outcome{err: api.AsError(err)}
		},
		cli: func(w *world, s *step) []string {
			return []string{"vm", "commit", w.vmName(s.track, s.name), imageName(s.track)}
		},
		done: func(s state, e *event) []state {
			p := s.vm[e.name].phase
			s.image = true
			return only(p == stopped || p == failed, s)
		},
		failed: func(s state, e *event) []state {
			p := s.vm[e.name].phase
			switch {
			case e.is(api.KindNotFound):
				return only(p == absent, s)
			case e.is(api.KindConflict) && e.says("its disk changes"):
				return only(p == running, s)
			case e.is(api.KindConflict) && e.says("no disk"):
				return only(p == failed, s)
			case e.is(api.KindInternal) && e.says("interrupted"):
				return only(e.out.kills > 0 && p != absent, s)
			}
			return only(e.out.full && p != absent, s)
		},
	}
}

func opDeleteImage() *operation {
	return &operation{
		name: "image delete", weight: 2,
		run: func(ctx context.Context, w *world, s *step) outcome {
			return outcome{err: api.AsError(w.client.Images().Delete(ctx, imageName(s.track)))}
		},
		cli: func(w *world, s *step) []string { return []string{"image", "delete", imageName(s.track)} },
		done: func(s state, e *event) []state {
			had := s.image
			s.image = false
			return only(had, s)
		},
		failed: func(s state, e *event) []state {
			return only(e.is(api.KindNotFound) && !s.image || e.out.full && s.image, s)
		},
	}
}

// opPruneImages removes nothing that the model knows.
func opPruneImages() *operation {
	return &operation{
		name: "image prune", mayUndo: func(phase) bool { return true }, weight: 2,
		run: func(ctx context.Context, w *world, s *step) outcome {
			_, err := w.client.Images().Prune(ctx, nil)
			return outcome{err: api.AsError(err)}
		},
		cli:    func(*world, *step) []string { return []string{"image", "prune"} },
		done:   func(s state, _ *event) []state { return []state{s} },
		failed: func(s state, e *event) []state { return only(e.out.kills > 0 && e.says("interrupted"), s) },
	}
}

// opPrune removes the VMs of all tracks that do not run, and says which.
func opPrune() *operation {
	return &operation{
		name: "prune", weight: 1, claims: true, everywhere: true,
		run: func(ctx context.Context, w *world, s *step) outcome {
			pruned, err := w.client.VMs().Prune(ctx, nil)
			return outcome{names: pruned.Removed, err: api.AsError(err)}
		},
		done: func(s state, e *event) []state {
			all := []state{s}
			for i, v := range s.vm {
				removed := slices.Contains(e.out.names, fmt.Sprintf("t%d%c", e.track, 'a'+i))
				idle := v.phase == stopped || v.phase == failed
				switch {
				case removed && !idle:
					return nil
				case removed:
					all = each(all, func(s state) []state { return []state{s.in(i, absent)} })
				case idle && e.out.kills > 0: // the next daemon says what itself has removed
					all = each(all, func(s state) []state { return []state{s, s.in(i, absent)} })
				case idle && len(e.beside) == 0:
					return nil
				}
			}
			return all
		},
		failed: func(state, *event) []state { return nil },
	}
}

func each(all []state, do func(state) []state) (more []state) {
	for _, s := range all {
		more = append(more, do(s)...)
	}
	return more
}

// setMemory writes config.toml, which counts at once.
func setMemory(ctx context.Context, w *world, s *step) error {
	w.settings.Lock()
	defer w.settings.Unlock()
	want := fmt.Sprintf("%dM", 200+s.dice%100)
	file := w.paths.ConfigFile()
	made := filepath.Join(filepath.Dir(file), ".config.toml.new")
	fills := w.fills.mark()
	err := os.WriteFile(made, fmt.Appendf(nil, w.config, want), 0o600)
	if err == nil {
		err = os.Rename(made, file)
	}
	if err != nil {
		os.Remove(made)
		if w.fills.since(fills) > 0 {
			return nil
		}
		return err
	}
	c, err := w.client.Daemon().Config(ctx)
	if err != nil {
		return fmt.Errorf("the settings cannot be read: %w", err)
	}
	for _, v := range c.Values {
		if v.Key == "memory" && v.Value == want {
			return nil
		}
	}
	return fmt.Errorf("memory = %q does not count: %+v", want, c.Values)
}

// comparePorts wants a track's ports to be served just if a VM publishes them that runs.
func (w *world) comparePorts(n int, s state) error {
	for port, number := range w.ports[n] {
		want := false
		for _, v := range s.vm {
			want = want || v.phase == running && v.ports&(1<<port) != 0
		}
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", address, number), time.Second)
		if err == nil {
			conn.Close()
		}
		if (err == nil) != want {
			return fmt.Errorf("port %d of track %d (%v): to be served: %t; %v", number, n, s, want, err)
		}
	}
	return nil
}

// freePorts finds ports that nobody uses on all addresses, below those that the kernel gives
// away.
func freePorts(n int) (ports []int, err error) {
	for port := 20000; len(ports) < n && port < 32000; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", address, port))
		if err == nil {
			ports = append(ports, port)
			l.Close()
		}
	}
	if len(ports) < n {
		return nil, fmt.Errorf("no %d free ports", n)
	}
	return ports, nil
}
