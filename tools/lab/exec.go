package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"banger/api"
	"banger/internal/guest"
	"banger/test/lab/host"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func execCommand(f *flags) *cobra.Command {
	var user string
	c := &cobra.Command{
		Use: "exec -- COMMAND [ARG...]", Short: "Run a command in the lab as root, and end with its status",
		Example: "  go run ./tools/lab exec -- systemctl status\n  go run ./tools/lab exec --user dev -- banger vm list",
		Args:    cobra.MinimumNArgs(1),
	}
	c.Flags().StringVar(&user, "user", "", "run it as this user")
	c.RunE = func(c *cobra.Command, args []string) error {
		if user != "" {
			args = append([]string{"runuser", "-u", user, "--"}, args...)
		}
		return f.run(c.Context(), api.Exec{Argv: args}, host.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	}
	return c
}

func (f *flags) run(ctx context.Context, e api.Exec, std host.Streams) error {
	m, err := f.open()
	if err != nil {
		return err
	}
	conn, err := m.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	code, err := conn.Exec(ctx, e, std)
	if err == nil && code != 0 {
		err = exitStatus(code)
	}
	return err
}

func shellCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "shell", Short: "Open a root shell in the lab, which is booted if it is not running", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.shell(c.Context()) },
	}
}

// shell runs a shell on this program's terminal.
func (f *flags) shell(ctx context.Context) error {
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		return errors.New("a shell needs a terminal; for a single command: go run ./tools/lab exec -- COMMAND")
	}
	if m, err := f.open(); err != nil || !m.Running() {
		fmt.Fprintln(os.Stderr, "lab: booting a lab host; about 20 seconds")
		up := root()
		up.SetArgs([]string{"up", "--dir", f.dir})
		if err := up.ExecuteContext(ctx); err != nil {
			return err
		}
	}
	columns, rows, err := term.GetSize(in)
	if err != nil {
		return err
	}
	before, err := term.MakeRaw(in)
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(in, before) }()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	over, stop := context.WithCancel(ctx)
	defer stop()
	exec := api.Exec{
		Argv: []string{"bash", "-l"}, TTY: true, Rows: uint16(rows), Cols: uint16(columns),
		Env: []string{"TERM=" + os.Getenv("TERM")},
	}
	return f.run(ctx, exec, host.Streams{
		In: io.Reader(os.Stdin), Out: os.Stdout, Err: os.Stderr,
		Started: func(s *guest.Session) { go follow(over, s, in, resized) },
	})
}

// follow passes on changes of the terminal's size.
func follow(ctx context.Context, s *guest.Session, terminal int, resized <-chan os.Signal) {
	for {
		select {
		case <-resized:
			if columns, rows, err := term.GetSize(terminal); err == nil {
				_ = s.Resize(uint16(rows), uint16(columns)) // it has ended
			}
		case <-ctx.Done():
			return
		}
	}
}
