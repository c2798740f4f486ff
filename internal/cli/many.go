package cli

import (
	"context"
	"fmt"
	"sync"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

// maxParallel bounds how many VMs are worked on in parallel.
const maxParallel = 8

// inParallel calls work for each of n things, most of them at the same time, and returns
// when all is done.
func inParallel(n, most int, work func(i int)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, most)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			work(i)
		})
	}
}

// each calls work for every name, several in parallel. The output lines are printed in
// the order of the names, each as soon as those before it are printed. A failure does not
// stop the others; all failures are printed, and the exit status is then 1.
func (a *app) each(ctx context.Context, names []string, work func(ctx context.Context, name string, report api.Report) (string, error)) error {
	p := a.std.newProgress()
	type outcome struct {
		line string
		err  error
	}
	outcomes := make([]chan outcome, len(names))
	for i := range outcomes {
		outcomes[i] = make(chan outcome, 1)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		inParallel(len(names), maxParallel, func(i int) {
			report := p.report
			if len(names) > 1 {
				report = p.named(names[i])
			}
			line, err := work(ctx, names[i], report)
			outcomes[i] <- outcome{line, err}
		})
	})
	failed := 0
	var last error
	for i := range names {
		o := <-outcomes[i]
		p.done()
		if o.err != nil {
			last = o.err
			if failed++; len(names) > 1 {
				a.std.printError(o.err)
			}
			continue
		}
		if o.line != "" {
			if _, err := fmt.Fprintln(a.std.out, o.line); err != nil {
				last = err
			}
		}
	}
	if failed > 0 && len(names) > 1 {
		if sig := a.signals.signal(); sig != 0 {
			return statusError(128 + int(sig))
		}
		return statusError(exitFailed)
	}
	return last
}

// kind is a kind of things that the arguments of a command name.
type kind struct {
	one, a string          // such as image and an image
	names  func() []string // all there are, for completion
}

var (
	vmKind     = kind{"vm", "a VM", vmNames}
	imageKind  = kind{"image", "an image", imageNames}
	kernelKind = kind{"kernel", "a kernel", kernelNames}

	snapshotKind = kind{"snapshot", "a snapshot", snapshotNames}
)

// eachCommand is a command that does the same to everything named.
type eachCommand struct {
	of                        kind
	use, short, long, example string
	aliases                   []string
	work                      func(ctx context.Context, c *client.Client, name string, report api.Report) error
}

func (e eachCommand) command(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               e.use + " NAME...",
		Aliases:           e.aliases,
		Short:             e.short,
		Long:              e.long,
		Example:           e.example,
		Args:              arguments(1, -1, "the name of "+e.of.a),
		ValidArgsFunction: completeArgs(-1, e.of.names),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runEach(cmd.Context(), args, e.work) },
	}
}

// runEach does work to everything named, and prints the names for which it succeeded.
func (a *app) runEach(ctx context.Context, names []string, work func(context.Context, *client.Client, string, api.Report) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return a.each(ctx, names, func(ctx context.Context, name string, report api.Report) (string, error) {
		return name, work(ctx, c, name, report)
	})
}
