package cli

import "github.com/spf13/cobra"

func newCompletion(a *app) *cobra.Command {
	shells := []string{"bash", "fish", "zsh"}
	return &cobra.Command{
		Use:   "completion bash|fish|zsh",
		Short: "Print a script that completes banger's commands and names",
		Long: `Print a script for your shell that completes banger's commands, flags and the
names of VMs, images and kernels.`,
		Example: `  source <(banger completion bash)
  banger completion fish > ~/.config/fish/completions/banger.fish
  banger completion zsh > "${fpath[1]}/_banger"`,
		Args:              arguments(1, 1, "the name of one shell: bash, fish or zsh"),
		ValidArgsFunction: completeArgs(1, func() []string { return shells }),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(a.std.out, true)
			case "fish":
				return cmd.Root().GenFishCompletion(a.std.out, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(a.std.out)
			}
			return usagef(cmd, "cannot complete for %q: use bash, fish or zsh", args[0])
		},
	}
}
