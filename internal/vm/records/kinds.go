package records

// The kinds of operations on VMs.
const (
	KindCreate   = "vm.create"
	KindRun      = "vm.run" // create and start
	KindStart    = "vm.start"
	KindStop     = "vm.stop"
	KindRestart  = "vm.restart"
	KindKill     = "vm.kill"
	KindPause    = "vm.pause"
	KindResume   = "vm.resume"
	KindSuspend  = "vm.suspend"
	KindSnapshot = "vm.snapshot"
	KindDelete   = "vm.delete"
	KindCommit   = "vm.commit"
	KindPrune    = "vm.prune"
)

// KindRecover marks a VM that is still being recovered as busy. No operation has this kind.
const KindRecover = "vm.recover"
