package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"banger/test/harness"
	"banger/test/lab"
	"banger/test/lab/host"
	"banger/test/lab/versions"

	"github.com/spf13/cobra"
)

func runCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "run", Short: "Boot a lab, run the scenarios in it, and end it", Args: cobra.NoArgs,
		Long: "Boot a lab, run the scenarios in it, and end it. LAB_VMM=qemu runs them on QEMU even where firecracker\nand jailer are there.",
	}
	o := options(c)
	word := c.Flags().String("scenario", "", "only scenarios whose name begins with this word, or with one of several")
	c.RunE = func(c *cobra.Command, _ []string) error {
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
		if !present("firecracker") || !present("jailer") {
			o.NoFirecracker = true
		}
		other, err := otherHelper(c.Context(), repository, base)
		if err != nil {
			return err
		}
		o.Extra = append(o.Extra, other)
		o.Tied = true
		s := lab.Suite{Words: strings.Fields(*word), Dir: f.dir, Results: filepath.Join(base, "results"), Options: *o, Out: os.Stdout}
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

// otherHelper builds a root helper of another protocol, for the scenario of that
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

// addVersions has the versions that scenarios of updates need built, and adds them.
func addVersions(ctx context.Context, repository string, o *host.Options) error {
	cache, err := host.Cache()
	if err != nil {
		return err
	}
	dir, err := versions.Build(ctx, repository, cache, os.Stdout)
	if err != nil {
		return fmt.Errorf("cannot prepare the versions for updates: %w", err)
	}
	o.Extra = append(o.Extra, dir)
	return nil
}

func present(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// removeOld removes what runs that were killed have left; their labs ended with them.
func removeOld(base string) error {
	old, err := filepath.Glob(filepath.Join(base, "run-*"))
	if err != nil {
		return err
	}
	for _, dir := range old {
		runner := filepath.Base(dir)[len("run-"):]
		if _, err := os.Stat("/proc/" + runner); err == nil {
			continue // it may be at work
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}
