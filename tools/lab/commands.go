package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"banger/test/harness"
	"banger/test/lab/host"

	"github.com/spf13/cobra"
)

// flags are the flags that every command has.
type flags struct{ dir string }

func root() *cobra.Command {
	f := &flags{}
	c := &cobra.Command{
		Use: "lab", Short: "The lab host: a machine for testing system mode",
		SilenceErrors: true, SilenceUsage: true,
		Long: "The lab host: a Debian machine with systemd, device-mapper and nested KVM, emulated by QEMU.\n\n" +
			"BANGER_LAB_CACHE is the directory of its image, BANGER_LAB_DIR that of a lab's own files.",
	}
	c.PersistentFlags().StringVar(&f.dir, "dir", os.Getenv("BANGER_LAB_DIR"), "the lab's directory (default: .cache/lab/up in this repository)")
	c.AddCommand(buildCommand(), runCommand(f), upCommand(f), execCommand(f), shellCommand(f),
		copyCommand(f, "push SRC DST", "Copy a file or directory into the lab", (*host.Conn).Push),
		copyCommand(f, "pull SRC DST", "Copy a file or directory out of the lab", (*host.Conn).Pull),
		machineCommand(f, "reboot", "Reboot the lab in an orderly way", (*host.Machine).Reboot),
		machineCommand(f, "cut", "Cut the lab's power, and boot it again", (*host.Machine).Cut),
		machineCommand(f, "down", "End the lab and remove it", func(m *host.Machine, _ context.Context) error { return m.Remove() }),
		machineCommand(f, "console", "Show the log of the lab's serial console", console))
	return c
}

// labDir returns the absolute path of the lab's directory.
func (f *flags) labDir() (string, error) {
	if f.dir != "" {
		return filepath.Abs(f.dir)
	}
	repository, err := harness.Repository()
	return filepath.Join(repository, ".cache", "lab", "up"), err
}

func (f *flags) open() (*host.Machine, error) {
	dir, err := f.labDir()
	if err != nil {
		return nil, err
	}
	return host.Open(dir)
}

func buildCommand() *cobra.Command {
	return &cobra.Command{
		Use: "build", Short: "Build the lab host's image, unless it is built already", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			image, err := host.Build(c.Context(), os.Stderr)
			if err == nil {
				fmt.Println(image.Dir)
			}
			return err
		},
	}
}

// options adds the flags of a lab's boot.
func options(c *cobra.Command) *host.Options {
	o := &host.Options{}
	c.Flags().IntVar(&o.MemoryMiB, "memory", 3072, "memory in MiB")
	c.Flags().IntVar(&o.CPUs, "cpus", 2, "number of processors")
	c.Flags().StringVar(&o.Build, "build", "bin", "directory with the build to test, /lab/build in the lab")
	c.Flags().StringArrayVar(&o.Extra, "extra", nil, "a file or directory for /lab/extra")
	c.Flags().BoolVar(&o.NoFirecracker, "no-firecracker", os.Getenv("LAB_VMM") == "qemu", "leave firecracker and jailer out")
	return o
}

func upCommand(f *flags) *cobra.Command {
	c := &cobra.Command{Use: "up", Short: "Boot a lab, which stays in the background, and print its directory", Args: cobra.NoArgs}
	o := options(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		dir, err := f.labDir()
		if err != nil {
			return err
		}
		image, err := host.Build(c.Context(), os.Stderr)
		if err != nil {
			return err
		}
		if _, err := host.Up(c.Context(), dir, image, *o); err != nil {
			return err
		}
		fmt.Println(dir)
		return nil
	}
	return c
}

func copyCommand(f *flags, use, short string, do func(c *host.Conn, ctx context.Context, from, to string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := f.open()
			if err != nil {
				return err
			}
			conn, err := m.Connect(c.Context())
			if err != nil {
				return err
			}
			defer conn.Close()
			return do(conn, c.Context(), args[0], args[1])
		},
	}
}

func machineCommand(f *flags, use, short string, do func(*host.Machine, context.Context) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			m, err := f.open()
			if err != nil {
				return err
			}
			return do(m, c.Context())
		},
	}
}

func console(m *host.Machine, _ context.Context) error {
	log, err := os.ReadFile(m.Console())
	if err == nil {
		_, err = os.Stdout.Write(log)
	}
	return err
}
