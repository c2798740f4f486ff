// Command bench measures the time and memory that banger adds to a bare QEMU, and
// writes the result to docs/bench.md and docs/bench.json.
//
// Every machine is noisy, and emulated guests are slow: so each important figure is the
// difference of two alternating measurements in the same run. `make bench` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"banger/test/harness"
)

// wholeRun bounds a run; the report uses the samples that were taken by then.
const wholeRun = 10 * time.Minute

func main() {
	rounds := flag.Int("n", 20, "how many VMs to create in each way")
	dir := flag.String("out", "", "directory to write to (default: docs in this repository)")
	system := flag.String("system", "", "measure system mode, which is installed here, and write the result to this `file`")
	found := flag.String("lab", "", "add the result of -system in this `file` to the documentation, with measurements of this machine")
	images := flag.Bool("images", false, "measure how images are unpacked, and starts from images of two sizes")
	only := flag.String("only", "", "measure these `parts` alone, and print what was found instead of writing it: "+strings.Join(partNames, ","))
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	do := func() error { return run(ctx, *rounds, *dir, *only) }
	if *system != "" {
		do = func() error { return runLab(ctx, *rounds, *system) }
	} else if *images {
		do = func() error { return runImages(ctx, *rounds, *dir) }
	} else if *found != "" {
		do = func() error { return documentLab(ctx, *found, *dir) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// partNames are what -only takes, in the order in which they are measured.
var partNames = []string{"roundtrips", "downtime", "crowd", "lifecycles", "many", "stopped", "workspace"}

func run(ctx context.Context, rounds int, out, only string) error {
	names, err := chosen(only)
	if err != nil {
		return err
	}
	return measure(ctx, rounds, out, wholeRun, func(ctx context.Context, b *bench, out string) error {
		all := map[string]part{
			"roundtrips": {"round trips", b.roundTrips},
			"downtime":   {"open streams while the daemon is killed and stopped", b.downtime},
			"crowd":      {"silent connections, a byte beside streams that carry much", b.crowd},
			"lifecycles": {"create, first exec, stop, delete", b.lifecycles},
			"many":       {"many VMs at once, memory", b.many},
			"stopped":    {"a daemon's start with many VMs that do not run", b.stopped},
			"workspace":  {"a repository of 10,000 files, there and back", b.workspace},
		}
		parts := []part{{"preparing: kernel, image, one VM", b.prepare}}
		for _, name := range names {
			parts = append(parts, all[name])
		}
		if err := b.each(ctx, parts); err != nil {
			return err
		}
		b.report.ImageTouched = fingerprint(b.paths.Images()) != b.images
		if only != "" {
			fmt.Print(b.report.tables(b.machine))
			return nil
		}
		b.report.Made = 4 + len(b.report.Samples["api.total"]) + len(b.report.Samples["cli.total"]) + crowd
		return b.report.write(out, b.machine)
	})
}

// chosen are the names of the parts to measure, which only has with commas between them;
// all where it is empty.
func chosen(only string) ([]string, error) {
	if only == "" {
		return partNames, nil
	}
	names := strings.Split(only, ",")
	for _, name := range names {
		if !slices.Contains(partNames, name) {
			return nil, fmt.Errorf("-only: %q is not a part; the parts are %s", name, strings.Join(partNames, ", "))
		}
	}
	return names, nil
}

// measure opens a bench for a run of so many rounds, which is to take limit at most.
func measure(ctx context.Context, rounds int, out string, limit time.Duration, do func(ctx context.Context, b *bench, out string) error) error {
	if rounds < 1 {
		return errors.New("-n must be at least 1")
	}
	root, err := harness.Repository()
	if err != nil {
		return err
	}
	if out == "" {
		out = filepath.Join(root, "docs")
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit+2*time.Minute, errors.New("it took too long"))
	defer cancel()
	b, err := open(ctx, root)
	if err != nil {
		return err
	}
	defer b.close()
	b.rounds, b.deadline = rounds, time.Now().Add(limit)
	return do(ctx, b, out)
}

// part is one of the measurements of a run.
type part struct {
	what string
	do   func(context.Context) error
}

// each runs the parts, and reports the current one.
func (b *bench) each(ctx context.Context, parts []part) error {
	for _, s := range parts {
		fmt.Fprintf(os.Stderr, "bench: %s\n", s.what)
		if err := s.do(ctx); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx) // the error that it caused is less useful
			}
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	b.machine.after()
	return nil
}
