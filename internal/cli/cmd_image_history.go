package cli

import (
	"strings"
	"time"

	"banger/api"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newImageHistory(a *app) *cobra.Command {
	var asJSON, whole bool
	cmd := &cobra.Command{
		Use:               "history IMAGE",
		Short:             "Show how an image was built",
		Long:              "Show how an image was built, newest step first, with the size that each step added.",
		Example:           "  banger image history alpine",
		Args:              arguments(1, 1, "the name of an image"),
		ValidArgsFunction: completeArgs(1, imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			history, err := c.Images().History(cmd.Context(), args[0])
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(a.std.out, "history", append([]api.ImageHistory{}, history...))
			}
			return historyTable(history, whole, time.Now()).write(a.std.out)
		},
	}
	cmd.Flags().BoolVar(&whole, "no-trunc", false, "show whole commands")
	addJSON(cmd, &asJSON)
	return cmd
}

// shownCommand is the number of characters shown of a step's command.
const shownCommand = 60

func historyTable(history []api.ImageHistory, whole bool, now time.Time) *table {
	t := newTable("CREATED", "SIZE", "CREATED BY")
	for _, h := range history {
		created := "-"
		if h.CreatedAt != nil {
			created = ago(now, *h.CreatedAt)
		}
		command := printable(strings.Join(strings.Fields(h.CreatedBy), " "))
		if r := []rune(command); len(r) > shownCommand && !whole {
			command = string(r[:shownCommand-1]) + "…"
		}
		t.add(created, size.Format(h.SizeBytes), command)
	}
	return t
}
