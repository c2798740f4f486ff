package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/guest/forward"
	"banger/internal/guest/stdio"

	"github.com/spf13/cobra"
)

func newVMForward(a *app) *cobra.Command {
	var reverse bool
	cmd := &cobra.Command{
		Use:   "forward NAME FORWARD...",
		Short: "Forward ports to or from a running VM, until Ctrl-C",
		Long: `Forward ports to a running VM until Ctrl-C. A FORWARD is LISTEN:TARGET. LISTEN is
[ADDRESS:]PORT of this host, or the path of a Unix socket to create. The default
address is the loopback, which other machines cannot reach; port 0 chooses a free
one. TARGET is [HOST:]PORT as the VM sees it, or a Unix socket in the VM. The
suffix /udp forwards datagrams.

With --reverse LISTEN is in the VM, and TARGET on this host.

Open connections survive a restart or an update of the daemon. If nothing listens at
the target, the connection is reset and a message is printed.`,
		Example: `  banger vm forward dev 8080:80
  banger vm forward dev 0:5432 5353:53/udp
  banger vm forward dev 8080:db.local:80
  banger vm forward dev ./docker.sock:/run/docker.sock
  banger vm forward --reverse dev 3000:3000`,
		Args:              arguments(2, -1, "the name of a VM and what to forward"),
		ValidArgsFunction: completeArgs(1, vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			specs, err := parseForwards(cmd, args[1:])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			f := forwarding{std: a.std, c: c, reverse: reverse}
			return f.run(cmd.Context(), args[0], specs)
		},
	}
	cmd.Flags().BoolVarP(&reverse, "reverse", "R", false, "listen in the VM, and connect to this host")
	return cmd
}

// parseForwards parses all before anything is touched, and refuses to listen twice on
// the same address.
func parseForwards(cmd *cobra.Command, texts []string) ([]forward.Spec, error) {
	var specs []forward.Spec
	seen := map[stdio.Endpoint]string{}
	for _, text := range texts {
		s, err := forward.Parse(text)
		if err != nil {
			return nil, &usageError{err: err, command: cmd.CommandPath()}
		}
		if other, twice := seen[s.Listen]; twice && !strings.HasSuffix(s.Listen.Address, ":0") {
			return nil, usagef(cmd, "cannot forward %s and %s: both listen on %s", other, text, s.Listen.Address)
		}
		seen[s.Listen] = text
		specs = append(specs, s)
	}
	return specs, nil
}

// forwarder is a forward with an open listener.
type forwarder struct {
	line  string // describes it to the user
	serve func(ctx context.Context, failed func(error)) error
	close func()
}

// forwarding is one `vm forward`.
type forwarding struct {
	std     *streams
	c       *client.Client
	reverse bool
	vm      api.VM
	g       *client.Guest
}

// run forwards until ctx ends or the VM stops.
func (w *forwarding) run(ctx context.Context, ref string, specs []forward.Spec) (err error) {
	if w.vm, err = w.c.VMs().Show(ctx, ref); err != nil {
		return err
	}
	w.g = w.c.Guest(w.vm.ID)
	if _, err := w.g.Health(ctx); err != nil { // the VM has to run
		return err
	}
	open := w.open
	if w.reverse {
		open = w.openReverse
	}
	var all []forwarder
	for _, s := range specs {
		f, err := open(ctx, s)
		if err != nil {
			for _, f := range all {
				f.close()
			}
			return err
		}
		all = append(all, f)
	}
	for _, f := range all {
		if _, err := fmt.Fprintln(w.std.out, f.line); err != nil {
			return err
		}
	}
	return w.serve(ctx, all)
}

// serve returns nil once ctx has ended: this is the ordinary end of a forward.
func (w *forwarding) serve(ctx context.Context, all []forwarder) error {
	serving, cancel := context.WithCancelCause(ctx)
	var work sync.WaitGroup
	for _, f := range all {
		work.Go(func() {
			if err := f.serve(serving, w.complaints(f.line)); err != nil {
				cancel(err)
			}
		})
	}
	work.Go(func() { cancel(w.awaitEnd(serving)) })
	<-serving.Done()
	work.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(serving)
}

// askAgain is the pause after a request that the daemon could not answer.
const askAgain = time.Second

// awaitEnd returns when the VM is not running any more, or ctx has ended.
func (w *forwarding) awaitEnd(ctx context.Context) error {
	for {
		now, err := w.c.VMs().Wait(ctx, w.vm.ID)
		switch {
		case err == nil:
			return api.Errorf(api.KindConflict, "VM %s has stopped", now.Name).WithHint("banger vm start %s", now.Name)
		case api.KindOf(err) == api.KindNotFound:
			return api.Errorf(api.KindNotFound, "VM %s was deleted", w.vm.Name)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(askAgain):
		}
	}
}

func (w *forwarding) open(ctx context.Context, s forward.Spec) (forwarder, error) {
	l, err := forward.Listen(ctx, s.Listen)
	if err != nil {
		return forwarder{}, forward.Refused(err, s.Listen, "")
	}
	if forward.Open(s.Listen) {
		w.std.note("%s can be reached from other machines", l.Addr())
	}
	return forwarder{
		line: fmt.Sprintf("%s leads to %s", withProtocol(l.Addr().String(), s.Listen.Network), targetIn(w.vm.Name, s.To)),
		serve: func(ctx context.Context, failed func(error)) error {
			return w.g.Forward(ctx, l, client.Endpoint(s.To), failed)
		},
		close: func() { l.Close() },
	}, nil
}

func (w *forwarding) openReverse(ctx context.Context, s forward.Spec) (forwarder, error) {
	r, err := w.g.Listen(ctx, client.Endpoint(s.Listen))
	if err != nil {
		return forwarder{}, err
	}
	to := s.To
	if host, port, err := net.SplitHostPort(to.Address); err == nil && host == "" {
		to.Address = net.JoinHostPort("localhost", port)
	}
	return forwarder{
		line: fmt.Sprintf("%s in %s leads to %s", withProtocol(printable(r.Address), s.Listen.Network), w.vm.Name, withProtocol(to.Address, to.Network)),
		serve: func(ctx context.Context, failed func(error)) error {
			return r.Serve(ctx, client.Endpoint(s.To), failed)
		},
		close: func() { r.Close() },
	}, nil
}

func withProtocol(address, network string) string {
	if network == stdio.UDP {
		return address + "/udp"
	}
	return address
}

func targetIn(vm string, to stdio.Endpoint) string {
	if host, port, err := net.SplitHostPort(to.Address); err == nil && host == "" && to.Network != stdio.Unix {
		return "port " + withProtocol(port, to.Network) + " of " + vm
	}
	return withProtocol(to.Address, to.Network) + " in " + vm
}

// complainAgain is the time after which the same error is printed again.
const complainAgain = 10 * time.Second

// complaints returns a function that prints why connections failed, but not the same
// error again within complainAgain.
func (w *forwarding) complaints(line string) func(error) {
	where, _, _ := strings.Cut(line, " ")
	var mu sync.Mutex
	var last string
	var at time.Time
	return func(err error) {
		var e *api.Error
		if !errors.As(err, &e) {
			return // the client itself closed its connection
		}
		mu.Lock()
		defer mu.Unlock()
		if e.Message == last && time.Since(at) < complainAgain {
			return
		}
		last, at = e.Message, time.Now()
		w.std.note("%s: %s", where, printable(e.Message))
	}
}
