package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"banger/client"

	"github.com/spf13/cobra"
)

// list is a command that lists everything of one kind in the cache.
type list[T any] struct {
	one, many string // such as image and images
	none      string // is printed if there is nothing
	get       func(context.Context, *client.Client) ([]T, error)
	table     func([]T, time.Time) *table
	asJSON    bool
}

func (l list[T]) command(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the " + l.many + " in the cache",
		Example: "  banger " + l.one + " list",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			all, err := l.get(cmd.Context(), c)
			switch {
			case err != nil:
				return err
			case l.asJSON:
				return printJSON(a.std.out, l.many, append([]T{}, all...))
			case len(all) == 0:
				a.std.note("%s", l.none)
				return nil
			}
			return l.table(all, time.Now()).write(a.std.out)
		},
	}
	addJSON(cmd, &l.asJSON)
	return cmd
}

// show is a command that shows things of one kind in detail.
type show[T any] struct {
	of      kind
	many    string // of.one in the plural
	example string
	get     func(context.Context, *client.Client, string) (T, error)
	print   func(io.Writer, T) error
	asJSON  bool
}

func (s show[T]) command(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "show NAME...",
		Short:             "Show " + s.of.a + " in detail",
		Example:           s.example,
		Args:              arguments(1, -1, "the name of "+s.of.a),
		ValidArgsFunction: completeArgs(-1, s.of.names),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return s.all(cmd.Context(), c, a.std, args)
		},
	}
	addJSON(cmd, &s.asJSON)
	return cmd
}

// all shows what each name stands for. As JSON, one is an object, several are a list. It
// asks for all in parallel: a VMM that hangs takes a second.
func (s show[T]) all(ctx context.Context, c *client.Client, std *streams, names []string) error {
	got, errs := make([]T, len(names)), make([]error, len(names))
	inParallel(len(names), maxParallel, func(i int) { got[i], errs[i] = s.get(ctx, c, names[i]) })
	all := make([]T, 0, len(names))
	var failure error
	for i, v := range got {
		if err := errs[i]; err != nil {
			if len(names) == 1 {
				return err
			}
			std.printError(err)
			failure = statusError(exitFailed)
			continue
		}
		if all = append(all, v); s.asJSON {
			continue
		}
		if len(all) > 1 {
			if _, err := fmt.Fprintln(std.out); err != nil {
				return err
			}
		}
		if err := s.print(std.out, v); err != nil {
			return err
		}
	}
	var err error
	switch {
	case s.asJSON && len(names) == 1:
		err = printJSON(std.out, s.of.one, all[0])
	case s.asJSON:
		err = printJSON(std.out, s.many, all)
	}
	if err != nil {
		return err
	}
	return failure
}
