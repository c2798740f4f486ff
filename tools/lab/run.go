package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"banger/test/harness"
	"banger/test/lab"
	"banger/test/lab/host"
	"banger/tools/lab/builds"

	"github.com/spf13/cobra"
)

func runCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "run", Short: "Boot a lab, run the scenarios in it, and end it", Args: cobra.NoArgs,
		Long: "Boot a lab, run the scenarios in it, and end it, with the firecracker and jailer in PATH, or with several\n" +
			"pairs: the newest one runs all scenarios, each further one those that depend on it. LAB_VMM=qemu runs them on\n" +
			"QEMU even if firecracker and jailer are installed.",
	}
	o := options(c)
	word := c.Flags().String("scenario", "", "only scenarios whose name starts with this word, or with one of several")
	pairs := c.Flags().String("pairs", os.Getenv("LAB_PAIRS"), "a folder with a folder for each Firecracker, VERSION/firecracker and VERSION/jailer")
	limit := c.Flags().Duration("time", 0, "begin no scenario after this time; those left count as skipped (0: all are run)")
	labs := c.Flags().Int("labs", 1, "how many labs share the scenarios, side by side")
	again := c.Flags().Bool("continue", false, "leave out what earlier runs have passed with the same programs")
	list := c.Flags().Bool("list", false, "list the scenarios, and run none")
	c.RunE = func(c *cobra.Command, _ []string) error {
		words := strings.Fields(*word)
		if *list {
			return lab.Suite{Words: words}.List(os.Stdout)
		}
		repository, err := harness.Repository()
		if err != nil {
			return err
		}
		base := filepath.Join(repository, ".cache", "lab")
		if f.dir == "" {
			f.dir = filepath.Join(base, "run-"+strconv.Itoa(os.Getpid()))
			if err := removeOld(base); err != nil {
				return err
			}
		}
		if err := addPairs(c.Context(), *pairs, o); err != nil {
			return err
		}
		other, err := otherHelper(c.Context(), repository, base)
		if err != nil {
			return err
		}
		o.Extra = append(o.Extra, other)
		o.Tied = true
		s := lab.Suite{Words: words, Dir: f.dir, Results: filepath.Join(base, "results"), Options: *o,
			Passed: filepath.Join(base, "passed"), Continue: *again, Labs: *labs, Out: os.Stdout}
		if *limit > 0 {
			s.Time = time.Now().Add(*limit)
		}
		if s.NeedsVersions() {
			if err := addVersions(c.Context(), repository, &s.Options); err != nil {
				return err
			}
		}
		failed, err := s.Run(c.Context())
		if err == nil && failed > 0 {
			err = exitStatus(1)
		}
		return err
	}
	return c
}

// otherHelper builds a root helper with another protocol, for the scenario of that
// name.
func otherHelper(ctx context.Context, repository, dir string) (string, error) {
	path := filepath.Join(dir, "bangerd-root-other")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -X banger/internal/rootapi.protocol=other", "-o", path, "./cmd/bangerd-root")
	cmd.Dir, cmd.Env = repository, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build a helper of another protocol: %w\n%s", err, out)
	}
	return path, nil
}

// addVersions adds the versions for scenarios of updates, and builds them.
func addVersions(ctx context.Context, repository string, o *host.Options) error {
	cache, err := host.Cache()
	if err != nil {
		return err
	}
	dir, err := builds.Build(ctx, repository, cache, os.Stdout)
	if err != nil {
		return fmt.Errorf("cannot prepare the versions for updates: %w", err)
	}
	o.Extra = append(o.Extra, dir)
	return nil
}

// addPairs adds the Firecracker pairs: those in dir, or that of PATH.
func addPairs(ctx context.Context, dir string, o *host.Options) error {
	if o.NoFirecracker {
		return nil
	}
	if dir != "" {
		pairs, err := host.Pairs(ctx, dir)
		o.Pairs = pairs
		return err
	}
	pair, found, err := host.PathPair(ctx)
	if found {
		o.Pairs = []host.Pair{pair}
	}
	o.NoFirecracker = !found
	return err
}

// removeOld removes the leftovers of killed runs; their labs ended with them.
func removeOld(base string) error {
	old, err := filepath.Glob(filepath.Join(base, "run-*"))
	if err != nil {
		return err
	}
	for _, dir := range old {
		runner, _, _ := strings.Cut(filepath.Base(dir)[len("run-"):], "-") // a second lab's has a number at its end
		if _, err := os.Stat("/proc/" + runner); err == nil {
			continue // it may be in use
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}
