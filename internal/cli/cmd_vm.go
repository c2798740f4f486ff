package cli

import "github.com/spf13/cobra"

func newVM(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "vm",
		Short:   "Create, use and remove VMs",
		Example: "  banger vm run\n  banger vm list",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(
		newVMRun(a), newVMCreate(a), newVMStart(a), newVMStop(a), newVMRestart(a), newVMKill(a), newVMPause(a), newVMResume(a), newVMSuspend(a), newVMFork(a), newVMDelete(a),
		newVMList(a), newVMShow(a), newVMLogs(a), newVMExec(a), newVMShell(a), newVMSSH(a), newVMCp(a), newVMSync(a), newVMCommit(a),
		newVMForward(a), newVMHold(a), newVMPublish(a), newVMUnpublish(a), newVMPorts(a), newVMSessions(a), newVMAttach(a), newVMStats(a), newVMHealth(a), newVMPing(a),
		newVMWait(a), newVMRename(a), newVMSet(a), newVMPrune(a),
		newVMSSHProxy(a), newVMSSHHostKey(a),
	)
	return cmd
}
