// Package cli is the banger command: its subcommands and flags, its output, and its exit
// status. It holds no state; the daemon does.
//
// Exit status: 0 for success; 1 if something failed; 2 for an invalid command line; 128
// plus the signal's number if a signal ended it. `vm run`, `vm exec` and `vm shell` end
// with the guest command's status instead (128 plus the signal's number if a signal ended
// that), and with 125 if banger itself failed, so that the two can be told apart.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"banger/api"

	"github.com/spf13/cobra"
)

// The exit statuses that are banger's own.
const (
	exitFailed = 1
	exitUsage  = 2
	// exitBanger is the exit status of run, exec and shell if banger itself failed; env(1),
	// chroot(1) and docker use the same.
	exitBanger = 125
)

// Main runs the command line args (without the program's name) and returns the
// exit status.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, interrupted, stop := untilSignal()
	defer stop()
	a := newApp(stdin, stdout, stderr, os.Getenv)
	a.signals = interrupted
	root := newRoot(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	return a.conclude(err, interrupted)
}

// conclude prints err and returns the exit status.
func (a *app) conclude(err error, interrupted *interruption) int {
	if err == nil {
		return 0
	}
	var status statusError
	if errors.As(err, &status) {
		return int(status)
	}
	if sig := interrupted.signal(); sig != 0 {
		e := api.AsError(err)
		if e.Kind == api.KindCanceled && e.Hint == "" && !strings.Contains(e.Message, nothingLeft) {
			e = api.Errorf(api.KindCanceled, "cancelled")
		}
		a.std.printError(e)
		return 128 + int(sig)
	}
	if brokenPipe(err) {
		return 128 + int(syscall.SIGPIPE) // nobody reads the output any more
	}
	a.std.printError(err)
	var usage *usageError
	var own *ownError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &own):
		return exitBanger
	}
	return exitFailed
}

// statusError ends banger with a status and without a message.
type statusError int

func (statusError) Error() string { return "exit status" }

// usageError is an error of an invalid command line.
type usageError struct {
	err     error
	command string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// ownError is a failure of banger itself in a command that otherwise ends with the status
// of a guest's command.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }
func (e *ownError) Unwrap() error { return e.err }

func own(err error) error {
	var status statusError
	var usage *usageError
	if err == nil || errors.As(err, &status) || errors.As(err, &usage) {
		return err
	}
	return &ownError{err}
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "banger",
		Short: "Development sandboxes on microVMs",
		Long: `banger runs development sandboxes. Each one is a real virtual machine with its own
kernel, and keeps running until you stop it, even if banger's daemon is stopped,
killed or updated.`,
		Example: `  banger vm run                      # a new sandbox, and a shell in it
  banger vm run --rm -- uname -a     # one command in its own sandbox
  banger ps                          # what is running`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          showHelp,
		Version:       versionLine(),
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetIn(a.std.in)
	root.SetOut(a.std.out)
	root.SetErr(a.std.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err: explainFlag(err), command: cmd.CommandPath()}
	})
	root.AddCommand(
		newUp(a), newDown(a), newSync(a), newWork(a), newVM(a), newPs(a), newTop(a), newSnapshot(a), newImage(a), newKernel(a), newDoctor(a),
		newDaemon(a), newSystem(a), newUpdate(a), newConfig(a), newSSHConfig(a), newCompletion(a), newVersion(a),
		newUpdateApply(a), newUpdateRecover(a), newUpdateFiles(a), newUpdateCommands(a),
	)
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Run, help.RunE, help.Args, help.Example = nil, helpOn, cobra.ArbitraryArgs, "  banger help vm run"
	}
	return root
}

// helpOn is `banger help`. Cobra's own exits with 0 for an unknown command.
func helpOn(cmd *cobra.Command, args []string) error {
	found, rest, err := cmd.Root().Find(args)
	if err == nil {
		err = noArgs(found, rest)
	}
	if err != nil {
		return err
	}
	found.InitDefaultHelpFlag()
	return found.Help()
}

// Root returns the command tree for generating the documentation, not for running it.
func Root() *cobra.Command {
	return newRoot(newApp(nil, io.Discard, io.Discard, func(string) string { return "" }))
}

func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// interruption is the signal that ended the context, if one did.
type interruption struct {
	cancel context.CancelCauseFunc
	ctx    context.Context
	caught chan os.Signal
}

type signalError struct{ sig syscall.Signal }

func (e signalError) Error() string { return "stopped by " + e.sig.String() }

// untilSignal returns a context that ends with the first signal that asks banger to end.
// The second signal ends banger immediately.
func untilSignal() (context.Context, *interruption, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	i := &interruption{cancel: cancel, ctx: ctx, caught: make(chan os.Signal, 1)}
	done := make(chan struct{})
	i.take()
	go func() {
		defer close(done)
		select {
		case s := <-i.caught:
			sig, _ := s.(syscall.Signal)
			cancel(signalError{sig})
			signal.Stop(i.caught)
		case <-ctx.Done():
		}
	}()
	return ctx, i, func() {
		signal.Stop(i.caught)
		cancel(nil)
		<-done
	}
}

// take makes signals end the context.
func (i *interruption) take() {
	signal.Notify(i.caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
}

// leave stops handling signals: while a guest's command runs, they are for it.
func (i *interruption) leave() {
	if i != nil {
		signal.Stop(i.caught)
	}
}

// signal returns the signal that ended the context, or 0.
func (i *interruption) signal() syscall.Signal {
	if i == nil {
		return 0
	}
	var caught signalError
	if errors.As(context.Cause(i.ctx), &caught) {
		return caught.sig
	}
	return 0
}
