package cli

import "github.com/spf13/cobra"

func newPs(a *app) *cobra.Command {
	l := vmList{a: a, running: true, none: "no VM is running; `banger vm list` shows all"}
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List running VMs",
		Long:  "List running VMs, oldest first; with --all, or a filter of states, the others too.\n\n" + listHelp,
		Example: `  banger ps
  banger ps -a
  banger ps --json
  banger ps --filter image='alpine*'
  banger ps --format '{{.name}} {{range .publish}}{{.host_port}} {{end}}'`,
		Args: noArgs,
		RunE: l.run,
	}
	l.flags(cmd)
	return cmd
}
