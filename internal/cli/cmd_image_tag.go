package cli

import (
	"fmt"

	"banger/api"

	"github.com/spf13/cobra"
)

func newImageTag(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "tag IMAGE NAME",
		Short: "Give an image another name",
		Long: `Give an image another name in addition. If another image has that name, the name
moves. ` + "`banger image delete`" + ` removes one name at a time.`,
		Example:           "  banger image tag alpine work/base:1",
		Args:              arguments(2, 2, "an image and a name"),
		ValidArgsFunction: completeArgs(1, imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if _, err := c.Images().Tag(cmd.Context(), api.TagImage{Image: args[0], Name: args[1]}); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.std.out, args[1])
			return err
		},
	}
}
