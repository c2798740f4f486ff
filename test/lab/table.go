package lab

import (
	"banger/internal/update/journal"
	"banger/test/lab/versions"
)

// Scenario is a test of system mode.
type Scenario struct {
	// Name starts with the word that `make lab SCENARIO=word` selects by.
	Name string
	// Firecracker: the scenario is about Firecracker, and does not apply to QEMU.
	Firecracker bool
	// VMM: it depends on the behaviour of Firecracker and its jailer: the jail, the
	// VMM's process and how it is found again, the vsock. It is repeated with each
	// further pair, as are those about Firecracker. The others depend only on banger or
	// systemd, and run once; so do all that take long for other reasons.
	VMM bool
	// Keeps: it uses the VMs of the previous scenario, with Lab.Have.
	Keeps bool
	// Updates: it needs several versions of banger (package versions), and installs the
	// one that it starts with.
	Updates bool
	// Run starts with banger installed, both daemons answering, and no VM. It may leave
	// anything: the VMs are deleted, and banger is installed if it is missing.
	Run func(l *Lab)
}

// Scenarios are all scenarios, in the order in which they run.
var Scenarios = append(scenarios, sessions()...)

var scenarios = []Scenario{
	{Name: "lifecycle", VMM: true, Run: lifecycle},
	{Name: "lifecycle-files", Run: files},
	{Name: "lifecycle-grow", Run: grow},
	{Name: "lifecycle-kill-delete-prune", Run: killDeletePrune},
	{Name: "lifecycle-parallel", Run: parallel},
	{Name: "lifecycle-jail", Firecracker: true, Run: jail},
	{Name: "doctor-try", VMM: true, Run: doctorTry},
	{Name: "restart-helper", Keeps: true, Run: restarts("systemctl restart bangerd-root")},
	{Name: "restart-daemon", Keeps: true, Run: restarts("systemctl restart bangerd")},
	{Name: "restart-both", VMM: true, Keeps: true, Run: restarts("systemctl restart bangerd-root bangerd")},
	{Name: "restart-command", Keeps: true, Run: restarts("banger system restart")},
	{Name: "restart-kill-helper", Keeps: true, Run: restarts("systemctl kill --signal=KILL --kill-whom=main bangerd-root")},
	{Name: "restart-kill-daemon", Keeps: true, Run: restarts("systemctl kill --signal=KILL --kill-whom=main bangerd")},
	{Name: "restart-stop-start", Keeps: true, Run: restarts("systemctl stop bangerd bangerd-root && sleep 1 && systemctl start bangerd-root bangerd")},
	{Name: "restart-streams", VMM: true, Run: restartStreams},
	{Name: "handles-deleted", VMM: true, Run: spoiled("rm $f")},
	{Name: "handles-corrupted", Run: spoiled("head -c 200 /dev/urandom > $f")},
	{Name: "handles-lying", Run: spoiled(`s=$(sed 's/^.*) //' /proc/$decoy/stat | cut -d' ' -f20); sed -i "s/\"pid\":[0-9]*/\"pid\":$decoy/; s/\"start_time\":[0-9]*/\"start_time\":$s/" $f; grep -q $decoy $f`)},
	{Name: "older-layout", VMM: true, Run: older},
	{Name: "isolation", VMM: true, Run: isolation},
	{Name: "isolation-rules", Run: isolationRules},
	{Name: "isolation-none", Run: isolationNone},
	{Name: "isolation-nat", Run: isolationNAT},
	{Name: "isolation-unit", Run: isolationUnit},
	{Name: "names", Run: vmNames},
	{Name: "looks", VMM: true, Run: looks},
	{Name: "file-sync", Run: fileSync},
	{Name: "registered", Run: registered},
	{Name: "kill-daemon-create", Run: killed("daemon", nil, createCommand, around("vm.create", "kernel", "image", "disk", "ready")...)},
	{Name: "kill-daemon-start", Run: killed("daemon", makeStopped, startCommand, around("vm.start", "attach", "network", "vmm", "agent")...)},
	{Name: "kill-daemon-stop", Run: killed("daemon", makeRunning, stopCommand, around("vm.stop", "shutdown", "release")...)},
	{Name: "kill-daemon-delete", Run: killed("daemon", makeStopped, deleteCommand, around("vm.delete", "kill", "release", "disk", "record")...)},
	{Name: "kill-helper-start", VMM: true, Run: killed("helper", makeStopped, startCommand, verbs("disk-attach", "net-attach", "vm-find", "vm-start", "vm-dial")...)},
	{Name: "kill-helper-delete", Run: killed("helper", makeRunning, deleteCommand, verbs("vm-kill", "vm-release")...)},
	{Name: "attack-stranger", Run: attackStranger},
	{Name: "attack-owner", Run: attackOwner},
	{Name: "attack-vmm-firecracker", Firecracker: true, Run: attackVMM("firecracker")},
	{Name: "attack-vmm-qemu", Run: attackVMM("qemu")},
	{Name: "missing-device-mapper", Run: missing},
	{Name: "missing-firecracker", Firecracker: true, Run: missingFirecracker},
	{Name: "full-disk", Run: full},
	{Name: "full-disk-guest", Run: fullGuest},
	{Name: "other-helper", Run: otherHelper},
	{Name: "power-reboot", Run: reboot},
	{Name: "power-cut-create", Run: cut("", "banger vm create "+start+" --driver %s --name k --start", "dmsetup ls | grep -c banger- | grep -qx 2")},
	{Name: "power-cut-delete", Run: cut("k", "banger vm delete --force k # %s", "! dmsetup ls | grep -c banger- | grep -qx 2")},
	{Name: "suite-blockdev", Run: suite("blockdev")},
	{Name: "suite-disk", Run: suite("disk-dmsnap")},
	{Name: "suite-systemd", Run: suite("systemd-live")},
	{Name: "suite-contract-firecracker", Firecracker: true, Run: suite("contract-firecracker")},
	{Name: "suite-contract-qemu", Run: suite("contract-qemu")},
	{Name: "update-good", Updates: true, Run: updateGood},
	{Name: "update-streams", Updates: true, Run: updateStreams},
	{Name: "update-migration", Updates: true, Run: updateMigration},
	{Name: "update-bad-start", Updates: true, Run: updateBad(versions.NoStart, "bangerd")},
	{Name: "update-bad-loop", Updates: true, Run: updateBad(versions.Loops, "daemon")},
	{Name: "update-bad-attach", Updates: true, Run: updateBad(versions.NoGuests, "VM ")},
	{Name: "update-bad-migration", Updates: true, Run: updateBad(versions.NoMigrate, "bangerd")},
	{Name: "update-bad-units", Updates: true, Run: updateBad(versions.BadUnits, "bangerd")},
	{Name: "update-bad-helper", Updates: true, Run: updateBad(versions.NoHelper, "bangerd-root")},
	{Name: "update-kill-before", Updates: true, Run: updateKilled(versions.Offers, versions.Good, at(journal.Prepared, journal.Holding, journal.Units, journal.Stopping)...)},
	{Name: "update-kill-switch", Updates: true, Run: updateKilled(versions.Offers, versions.Good, at(journal.BackingUp, journal.Switching, journal.Starting)...)},
	{Name: "update-kill-proof", Updates: true, Run: updateKilled(versions.Offers, versions.Good, at(journal.Probing, journal.Committing)...)},
	{Name: "update-kill-migration", Updates: true, Run: updateKilled(versions.Later, versions.Migrating, at(journal.BackingUp, journal.Switching, journal.Starting, journal.Committing)...)},
	{Name: "update-kill-back", Updates: true, Run: updateKilled(versions.Later, versions.NoMigrate, at(journal.RollingBack)...)},
	{Name: "update-cut-before", Updates: true, Run: updateCut(versions.Offers, versions.Good, at(journal.Prepared, journal.Holding, journal.Units, journal.Stopping)...)},
	{Name: "update-cut-switch", Updates: true, Run: updateCut(versions.Offers, versions.Good, at(journal.Switching, journal.Starting)...)},
	{Name: "update-cut-proof", Updates: true, Run: updateCut(versions.Offers, versions.Good, at(journal.Probing, journal.Committing)...)},
	{Name: "update-cut-migration", Updates: true, Run: updateCut(versions.Later, versions.Migrating, at(journal.BackingUp, journal.Switching, journal.Starting)...)},
	{Name: "update-cut-back", Updates: true, Run: updateCut(versions.Later, versions.NoMigrate, at(journal.RollingBack)...)},
	{Name: "update-old-units", Updates: true, Run: updateOldUnits},
	{Name: "update-attacks", Updates: true, Run: updateAttacks},
	{Name: "update-full-disk", Updates: true, Run: updateFullDisk},
	{Name: "update-no-network", Updates: true, Run: updateNoNetwork},
	{Name: "update-stall", Updates: true, Run: updateStall},
	{Name: "update-twice", Updates: true, Run: updateTwice},
	{Name: "update-ctrl-c", Updates: true, Run: updateInterrupted},
	{Name: "install-again", Run: installAgain},
	{Name: "install-refusals", Run: installRefusals},
	{Name: "install-firecracker", Firecracker: true, Run: installFirecracker},
	{Name: "install-uninstall-purge", Run: uninstallPurge},
}
