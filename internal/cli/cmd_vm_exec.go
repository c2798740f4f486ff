package cli

import (
	"os"
	"strings"

	"banger/api"

	"github.com/spf13/cobra"
)

// command holds the flags that say how a command runs in a guest.
type command struct {
	env     []string
	workdir string
	user    string
	tty     bool
}

func (c *command) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVarP(&c.env, "env", "e", nil, "set a variable: `NAME=value`, or NAME to copy it from your environment")
	f.StringVarP(&c.workdir, "workdir", "w", "", "`DIRECTORY` to run in (default: the image's, or the home directory)")
	f.StringVarP(&c.user, "user", "u", "", "`USER[:GROUP]` to run as, names or ids (default: the image's, or root)")
	f.BoolVarP(&c.tty, "tty", "t", false, "run a command on a terminal too (default: shells only)")
	f.SetInterspersed(false)
}

// exec builds the request; an empty argv means a shell.
func (c *command) exec(a *app, cmd *cobra.Command, argv []string) (api.Exec, error) {
	exec := api.Exec{Argv: argv, Dir: c.workdir, User: c.user, TTY: c.tty}
	if !cmd.Flags().Changed("tty") {
		exec.TTY = len(argv) == 0 && a.std.interactive()
	}
	if len(argv) > 0 && argv[0] == "" {
		return exec, usagef(cmd, "cannot run an empty command")
	}
	if cmd.Flags().Changed("user") && c.user == "" {
		return exec, usagef(cmd, "cannot use --user: it is empty")
	}
	for _, kv := range c.env {
		name, _, hasValue := strings.Cut(kv, "=")
		if name == "" || strings.ContainsRune(kv, 0) {
			return exec, usagef(cmd, "cannot use --env %q: write NAME=value or NAME", kv)
		}
		if !hasValue {
			value, set := os.LookupEnv(name)
			if !set {
				continue
			}
			kv = name + "=" + value
		}
		exec.Env = append(exec.Env, kv)
	}
	return exec, nil
}

func newVMExec(a *app) *cobra.Command {
	var how command
	var detach, noInput bool
	cmd := &cobra.Command{
		Use:   "exec NAME -- COMMAND [ARGUMENT...]",
		Short: "Run a command in a running VM",
		Long: `Run a command in a running VM, connected to your standard input, output and error.
Signals are forwarded. The exit status is the command's, 128 plus the signal's
number if a signal ended it, or 125 if banger itself failed.

All available input is read: in a loop that reads a list, or as a background job
of a shell, use --no-stdin.

With --detach the command runs in the background, without input, and the id of its
session is printed. The newest 256 KiB of each output stream and the exit status
are buffered until "banger vm attach" reads them.`,
		Example: `  banger vm exec dev -- make test
  banger vm exec --detach dev -- make all
  while read host; do banger vm exec -n dev -- ping -c 1 $host; done < hosts
  banger vm exec dev -- sh -c 'cat > notes' < notes
  banger vm exec -t dev -- top
  banger vm exec -u www-data dev -- id`,
		Args:              arguments(2, -1, "the name of a VM and a command"),
		ValidArgsFunction: completeArgs(1, vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			exec, err := how.exec(a, cmd, afterDashes(args[1:]))
			if err != nil {
				return err
			}
			if len(exec.Argv) == 0 {
				return usagef(cmd, "%s needs a command after --", cmd.CommandPath())
			}
			c, err := a.client()
			if err != nil {
				return own(err)
			}
			if detach {
				return a.sessions().start(cmd.Context(), c.Guest(args[0]), exec)
			}
			if noInput {
				a.std.in = strings.NewReader("")
			}
			return a.sessions().run(cmd.Context(), c.Guest(args[0]), exec)
		},
	}
	how.flags(cmd)
	cmd.Flags().BoolVarP(&noInput, "no-stdin", "n", false, "give it no input, and do not read standard input")
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "run it in the background, and print the id of its session")
	return cmd
}

// afterDashes drops the -- that flag parsing leaves in after a first argument.
func afterDashes(args []string) []string {
	if len(args) > 0 && args[0] == "--" {
		return args[1:]
	}
	return args
}
