package system

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"banger/test/lab"
)

// Why sessions are left out.
const (
	userMode = "it is about user mode: a daemon that commands start, below BANGER_HOME"
	faults   = "it is about faults, which only the fake VMM has"
	caches   = "it is about the caches of images and kernels, which are the same code in both modes, and counts those of an empty home"
	clients  = "it needs ssh and its kin in places of their own; the lab's scenarios restart-streams and update-streams have ssh and scp in system mode"
	stops    = "it stops the VMM, which the owner cannot: in system mode it has a user id of its own"
	worktree = "the command works on the repository as its user in both modes; system/testdata/up.txtar has the way there and back in system mode, up_cache.txtar kept setups and remotes, and up_dockerfile.txtar a build"
	command  = "it is about the command alone, which is the same in both modes"
)

// sessions are all of the other packages, and those of this one: which run here,
// in this order, and why not; more are those that -short leaves out.
var sessions = []struct {
	name, not string
	more      bool
}{
	{name: "script/testdata/vm_create.txtar", more: true},
	{name: "script/testdata/vm_list.txtar"},
	{name: "script/testdata/vm_start_stop.txtar"},
	{name: "script/testdata/vm_delete.txtar", more: true},
	{name: "script/testdata/vm_prune.txtar", more: true},
	{name: "script/testdata/vm_rename.txtar", more: true},
	{name: "script/testdata/vm_set.txtar", not: "it is about what is recorded, which is the same in both modes; its sizes are those of the fake VMM's host"},
	{name: "script/testdata/vm_filter.txtar", not: command},
	{name: "script/testdata/vm_wait.txtar", more: true},
	{name: "script/testdata/vm_logs.txtar"},
	{name: "script/testdata/vm_network.txtar", more: true},
	{name: "script/testdata/vm_show.txtar", more: true},
	{name: "script/testdata/vm_exec.txtar"},
	{name: "script/testdata/vm_exec_signals.txtar"},
	{name: "script/testdata/vm_shell.txtar"},
	{name: "script/testdata/vm_cp.txtar"},
	{name: "script/testdata/vm_sessions.txtar", more: true},
	{name: "script/testdata/reader_stops.txtar", more: true},
	{name: "script/testdata/long_command_line.txtar", more: true},
	{name: "e2e/testdata/busybox.txtar"},
	{name: "e2e/testdata/commit.txtar"},
	{name: "e2e/testdata/console.txtar", more: true},
	{name: "e2e/testdata/disk_grows.txtar", not: "it is about user mode: in system mode the disk of a running VM grows at its next start"},
	{name: "e2e/testdata/crowd.txtar", not: "a thousand connections take the emulated lab host minutes; the agent and the forwarder are the same there"},
	{name: "e2e/testdata/daemon_killed.txtar"},
	{name: "e2e/testdata/files.txtar", not: "its files are too small there to be cut in the middle for sure; vm_cp and vm_sessions do the same"},
	{name: "e2e/testdata/four.txtar"},
	{name: "e2e/testdata/ports.txtar", more: true},
	{name: "e2e/testdata/pause.txtar"},
	{name: "e2e/testdata/image_config.txtar", more: true},
	{name: "e2e/testdata/noshell.txtar"},
	{name: "e2e/testdata/doctor_try.txtar", more: true},
	{name: "system/testdata/interrupt_run.txtar"},
	{name: "system/testdata/up.txtar"},
	{name: "system/testdata/up_dockerfile.txtar"},
	{name: "system/testdata/up_cache.txtar"},

	{name: "e2e/testdata/up.txtar", not: worktree},
	{name: "e2e/testdata/suspend.txtar", not: userMode},
	{name: "e2e/testdata/fork.txtar", not: userMode},
	{name: "e2e/testdata/sync.txtar", not: worktree},
	{name: "script/testdata/sync.txtar", not: worktree},
	{name: "script/testdata/sync_overflow.txtar", not: worktree},
	{name: "script/testdata/work_fetch_full_disk.txtar", not: worktree},
	{name: "script/testdata/work_prune.txtar", not: worktree},
	{name: "e2e/testdata/up_dockerfile.txtar", not: worktree},
	{name: "script/testdata/up_twice.txtar", not: worktree},
	{name: "e2e/testdata/up_features.txtar", not: worktree},
	{name: "script/testdata/up.txtar", not: worktree},
	{name: "script/testdata/work_submodule.txtar", not: worktree},
	{name: "script/testdata/up_choices.txtar", not: worktree},
	{name: "script/testdata/up_dockerfile.txtar", not: worktree},
	{name: "script/testdata/up_features.txtar", not: worktree},
	{name: "script/testdata/up_cache.txtar", not: worktree},
	{name: "e2e/testdata/up_cache.txtar", not: worktree},
	{name: "script/testdata/up_folder.txtar", not: worktree},
	{name: "script/testdata/up_from.txtar", not: worktree},
	{name: "script/testdata/up_refusals.txtar", not: worktree},
	{name: "script/testdata/git_remote.txtar", not: worktree},
	{name: "script/testdata/git_remote_limits.txtar", not: worktree},
	{name: "script/testdata/vm_run_path.txtar", not: worktree},
	{name: "e2e/testdata/debian.txtar", not: "it pulls the distribution's packages, which the lab host cannot reach"},
	{name: "e2e/testdata/image_pull.txtar", not: caches},
	{name: "e2e/testdata/network.txtar", not: "it is about QEMU's user network; system mode's own is another, with tests of its own"},
	{name: "script/testdata/bad_names.txtar", not: command},
	{name: "script/testdata/bad_sizes.txtar", not: command},
	{name: "script/testdata/completion.txtar", not: command},
	{name: "script/testdata/config.txtar", not: userMode},
	{name: "script/testdata/settings.txtar", not: userMode},
	{name: "script/testdata/daemon.txtar", not: userMode},
	{name: "script/testdata/daemon_inherits.txtar", not: userMode},
	{name: "script/testdata/daemon_killed_exec.txtar", not: "it looks into the fake VMM's guest; e2e/testdata/daemon_killed.txtar has the same with a real one"},
	{name: "script/testdata/daemon_killed_work.txtar", not: "it is about moments that the fake VMM stretches; a scenario of the lab kills the daemon at each step instead"},
	{name: "script/testdata/daemon_start_race.txtar", not: userMode},
	{name: "script/testdata/doctor.txtar", not: "doctor asks other questions in system mode, and has tests of its own"},
	{name: "script/testdata/doctor_try.txtar", not: faults},
	{name: "script/testdata/full_disk.txtar", not: userMode},
	{name: "script/testdata/guest_hangs.txtar", not: stops},
	{name: "script/testdata/guest_mute.txtar", not: faults},
	{name: "script/testdata/help.txtar", not: command},
	{name: "script/testdata/image.txtar", not: caches},
	{name: "script/testdata/image_pull.txtar", not: caches},
	{name: "script/testdata/image_pull_fails.txtar", not: caches},
	{name: "script/testdata/image_config.txtar", not: "it boots ten VMs, one after the other; e2e/testdata/image_config.txtar has the same in two"},
	{name: "script/testdata/image_export.txtar", not: caches},
	{name: "script/testdata/image_export_interrupted.txtar", not: caches},
	{name: "script/testdata/image_import.txtar", not: caches},
	{name: "script/testdata/image_names.txtar", not: caches},
	{name: "script/testdata/image_register.txtar", not: caches},
	{name: "script/testdata/interrupt_run.txtar", not: "it waits for the fake VMM's process; system/testdata/interrupt_run.txtar has the same with a real one"},
	{name: "script/testdata/kernel.txtar", not: caches},
	{name: "script/testdata/long_path.txtar", not: userMode},
	{name: "script/testdata/missing_qemu.txtar", not: userMode},
	{name: "script/testdata/socket_stale.txtar", not: userMode},
	{name: "script/testdata/vm_stats.txtar", not: stops},
	{name: "script/testdata/vm_ping.txtar", not: stops},
	{name: "script/testdata/vm_kill_signal.txtar", not: stops},
	{name: "script/testdata/vm_suspend.txtar", not: userMode},
	{name: "script/testdata/snapshot.txtar", not: userMode},
	{name: "script/testdata/vm_fork.txtar", not: userMode},
	{name: "script/testdata/vm_idle.txtar", not: userMode},
	{name: "script/testdata/vm_pause.txtar", not: "e2e/testdata/pause.txtar has the same with a real guest"},
	{name: "script/testdata/vm_memory.txtar", not: "its VMs have more memory than the lab host, which real guests would need"},
	{name: "script/testdata/store_corrupt.txtar", not: userMode},
	{name: "script/testdata/store_newer.txtar", not: userMode},
	{name: "script/testdata/system.txtar", not: "it is about what is refused without an installation"},
	{name: "script/testdata/terminal.txtar", not: faults},
	{name: "script/testdata/unknown_things.txtar", not: command},
	{name: "script/testdata/update.txtar", not: "it is about programs that no release installed; scenarios of the lab update an installation"},
	{name: "e2e/testdata/ssh.txtar", not: clients},
	{name: "script/testdata/ssh_config.txtar", not: "rsync and git in its guest are this host's; " + clients},
	{name: "script/testdata/vm_ssh.txtar", not: clients},
	{name: "script/testdata/vm_ssh_forward.txtar", not: clients},
	{name: "script/testdata/vm_ssh_master.txtar", not: clients},
	{name: "script/testdata/vm_ssh_sftp.txtar", not: clients},
	{name: "script/testdata/vm_bytes.txtar", not: "its guest's printf and find are this host's"},
	{name: "script/testdata/vm_cp_special.txtar", not: "its guest makes special files with programs of this host"},
	{name: "script/testdata/vm_exec_no_stdin.txtar", not: command},
	{name: "script/testdata/version.txtar", not: userMode},
	{name: "script/testdata/vm_init.txtar", not: "it starts an image without an init of its own as if it had one, which only the fake VMM does"},
	{name: "script/testdata/vm_commit.txtar", not: "e2e/testdata/commit.txtar has the same with a real guest"},
	{name: "script/testdata/vm_forward.txtar", not: "the server in its guest is a program of the tests; e2e/testdata/ports.txtar has the same with busybox"},
	{name: "script/testdata/vm_ports.txtar", not: "as vm_forward"},
	{name: "script/testdata/vm_publish.txtar", not: "as vm_forward"},
	{name: "script/testdata/vm_run.txtar", not: "it boots eight VMs, one after the other; vm_exec, vm_shell and busybox have the same in one or two"},
	{name: "script/testdata/vm_sync.txtar", not: userMode},
	{name: "script/testdata/profiles.txtar", not: userMode},
	{name: "script/testdata/vm_tools.txtar", not: "the mise in its guest is a program of this host"},
	{name: "script/testdata/vm_wait_failed.txtar", not: faults},
	{name: "script/testdata/vmm_fails.txtar", not: faults},
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

// TestTheLabRunsThem wants a scenario of the lab for each session that -short leaves.
func TestTheLabRunsThem(t *testing.T) {
	var here []string
	for _, s := range sessions {
		if s.not == "" && !s.more {
			here = append(here, strings.TrimSuffix(path.Base(s.name), ".txtar"))
		}
	}
	there := slices.Clone(lab.Sessions)
	slices.Sort(here)
	slices.Sort(there)
	if diff := cmp.Diff(here, there); diff != "" {
		t.Error("sessions that run, and those that the lab has:\n" + diff)
	}
}
