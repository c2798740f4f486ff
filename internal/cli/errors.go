package cli

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"banger/api"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func renderError(err error) string {
	e := api.AsError(err)
	message, hint := e.Message, e.Hint
	var usage *usageError
	if errors.As(err, &usage) && hint == "" {
		// Cobra puts suggestions on lines of their own.
		first, rest, _ := strings.Cut(message, "\n")
		message, hint = first, usage.command+" --help"
		if _, suggestion, ok := strings.Cut(rest, "Did you mean this?"); ok {
			if word := strings.Fields(suggestion); len(word) > 0 {
				hint = usage.command + " " + word[0]
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "banger: %s\n", printable(strings.TrimSpace(message)))
	for line := range strings.Lines(hint) {
		fmt.Fprintf(&b, "  try: %s\n", printable(strings.TrimSpace(line)))
	}
	return b.String()
}

// explainFlag returns what is wrong with the value of a flag. Go's own errors for numbers
// and durations name functions.
func explainFlag(err error) error {
	var value *pflag.InvalidValueError
	if !errors.As(err, &value) {
		return err
	}
	name := "--" + value.GetFlag().Name
	switch value.GetFlag().Value.Type() {
	case "int", "int64", "uint", "uint16":
		return fmt.Errorf("cannot use %s: %.40q is not an integer, or too large", name, value.GetValue())
	case "bool":
		return fmt.Errorf("cannot use %s: %.40q is not true or false", name, value.GetValue())
	case "duration":
		return fmt.Errorf("cannot use %s: %.40q is not a duration: write one such as 10s or 2m", name, value.GetValue())
	}
	return err
}

// brokenPipe reports whether err says that the reader of the output is gone.
func brokenPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }

// noArgs refuses arguments. For a command that only groups others, the error is that the
// command does not exist.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasSubCommands() {
		return usagef(cmd, "%s takes no argument, got %q", cmd.CommandPath(), args[0])
	}
	err := usagef(cmd, "unknown command %q", cmd.CommandPath()+" "+args[0])
	cmd.SuggestionsMinimumDistance = 2
	if len(args[0]) <= 4 { // most short words differ in two letters or fewer
		cmd.SuggestionsMinimumDistance = 1
	}
	if vm, _, found := cmd.Root().Find([]string{"vm", args[0]}); found == nil && cmd == cmd.Root() && vm.Name() == args[0] {
		return api.Errorf(api.KindInvalid, "%w", err).WithHint("%s", vm.CommandPath())
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return api.Errorf(api.KindInvalid, "%w", err).WithHint("%s %s", cmd.CommandPath(), near[0])
	}
	return err
}

// arguments refuses fewer than low arguments or more than high; a negative high means no
// limit. want names the arguments in the error.
func arguments(low, high int, want string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < low:
			return usagef(cmd, "%s needs %s", cmd.CommandPath(), want)
		case high >= 0 && len(args) > high:
			return usagef(cmd, "%s takes %s, got %d arguments", cmd.CommandPath(), want, len(args))
		}
		return nil
	}
}

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...), command: cmd.CommandPath()}
}
