package system

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Why sessions are left out.
const (
	userMode = "it is about user mode: a daemon that commands start, below BANGER_HOME"
	faults   = "it is about faults, which only the fake VMM has"
	caches   = "it is about the caches of images and kernels, which are the same code in both modes, and counts those of an empty home"
	command  = "it is about the command alone, which is the same in both modes"
)

// sessions are all of the other packages, and those of this one: which run here,
// in this order, and why not.
var sessions = []struct{ name, not string }{
	{name: "script/testdata/vm_create.txtar"},
	{name: "script/testdata/vm_list.txtar"},
	{name: "script/testdata/vm_start_stop.txtar"},
	{name: "script/testdata/vm_delete.txtar"},
	{name: "script/testdata/vm_prune.txtar"},
	{name: "script/testdata/vm_rename.txtar"},
	{name: "script/testdata/vm_wait.txtar"},
	{name: "script/testdata/vm_logs.txtar"},
	{name: "script/testdata/vm_network.txtar"},
	{name: "script/testdata/vm_show.txtar"},
	{name: "script/testdata/vm_exec.txtar"},
	{name: "script/testdata/vm_exec_signals.txtar"},
	{name: "script/testdata/vm_shell.txtar"},
	{name: "script/testdata/vm_cp.txtar"},
	{name: "script/testdata/reader_stops.txtar"},
	{name: "script/testdata/long_command_line.txtar"},
	{name: "e2e/testdata/busybox.txtar"},
	{name: "e2e/testdata/console.txtar"},
	{name: "e2e/testdata/daemon_killed.txtar"},
	{name: "e2e/testdata/four.txtar"},
	{name: "e2e/testdata/noshell.txtar"},
	{name: "system/testdata/interrupt_run.txtar"},

	{"e2e/testdata/debian.txtar", "it pulls the distribution's packages, which the lab host cannot reach"},
	{"e2e/testdata/network.txtar", "it is about QEMU's user network; system mode's own is another, with tests of its own"},
	{"script/testdata/bad_names.txtar", command},
	{"script/testdata/bad_sizes.txtar", command},
	{"script/testdata/completion.txtar", command},
	{"script/testdata/config.txtar", userMode},
	{"script/testdata/daemon.txtar", userMode},
	{"script/testdata/daemon_killed_exec.txtar", "it looks into the fake VMM's guest; e2e/testdata/daemon_killed.txtar has the same with a real one"},
	{"script/testdata/daemon_killed_work.txtar", "it is about moments that the fake VMM stretches; a scenario of the lab kills the daemon at each step instead"},
	{"script/testdata/daemon_start_race.txtar", userMode},
	{"script/testdata/doctor.txtar", "doctor asks other questions in system mode, and has tests of its own"},
	{"script/testdata/full_disk.txtar", userMode},
	{"script/testdata/guest_mute.txtar", faults},
	{"script/testdata/help.txtar", command},
	{"script/testdata/image.txtar", caches},
	{"script/testdata/interrupt_run.txtar", "it waits for the fake VMM's process; system/testdata/interrupt_run.txtar has the same with a real one"},
	{"script/testdata/kernel.txtar", caches},
	{"script/testdata/long_path.txtar", userMode},
	{"script/testdata/missing_qemu.txtar", userMode},
	{"script/testdata/socket_stale.txtar", userMode},
	{"script/testdata/store_corrupt.txtar", userMode},
	{"script/testdata/store_newer.txtar", userMode},
	{"script/testdata/system.txtar", "it is about what is refused without an installation"},
	{"script/testdata/terminal.txtar", faults},
	{"script/testdata/unknown_things.txtar", command},
	{"script/testdata/version.txtar", userMode},
	{"script/testdata/vm_run.txtar", "it boots eight VMs, one after the other; vm_exec, vm_shell and busybox have the same in one or two"},
	{"script/testdata/vm_wait_failed.txtar", faults},
	{"script/testdata/vmm_fails.txtar", faults},
}

// TestEverySessionIsListed wants no session to be left out without a reason.
func TestEverySessionIsListed(t *testing.T) {
	var there, listed []string
	for _, pattern := range []string{"e2e/testdata/*.txtar", "script/testdata/*.txtar", "system/testdata/*.txtar"} {
		files, err := filepath.Glob("../" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			there = append(there, filepath.ToSlash(file[len("../"):]))
		}
	}
	for _, s := range sessions {
		listed = append(listed, s.name)
	}
	slices.Sort(there)
	slices.Sort(listed)
	if diff := cmp.Diff(there, listed); diff != "" {
		t.Error("sessions that are there, and those that are listed:\n" + diff)
	}
}
