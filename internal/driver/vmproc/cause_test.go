package vmproc_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/driver/vmproc"
	"banger/internal/paths"
)

// TestCauses: what VMMs say, in their own words, as they were seen or as their source has them.
func TestCauses(t *testing.T) {
	for said, want := range map[string]string{
		"": "",
		"Failed to create /dev/userfaultfd via mknod inside the jail: Operation not permitted (os error 1)\nError: MknodDev(Os { code: 1, kind: PermissionDenied, message: \"Operation not permitted\" }, \"/dev/userfaultfd\")": "the VM's unit does not let the jailer make the device node /dev/userfaultfd",
		"Failed to move process to cgroup (\"/sys/fs/cgroup/banger.slice\"): Permission denied (os error 13).":                                                                                                                   "the jailer cannot enter the VM's cgroup",
		"Failed to join network namespace: netns: Operation not permitted (os error 1)":                                                                                                                                          "the jailer cannot enter the VM's network namespace",
		"Failed to exec into Firecracker: No such file or directory (os error 2)":                                                                                                                                                "the program firecracker needs libraries, which a jail does not have",
		"Failed to exec into Firecracker: Permission denied (os error 13)":                                                                                                                                                       "the file system of the jails does not allow programs (noexec)",
		"Error: ParseArguments(UnexpectedArgument(\"--parent-cpu-time-us\"))":                                                                                                                                                    "firecracker and jailer are of different releases",
		"Arguments parsing error: Found argument 'x' which wasn't expected, or isn't valid in this context.":                                                                                                                     "firecracker and jailer are of different releases",
		"Error: RunWithApi(BuildFromJson(StartMicroVM(Kvm(Kvm(Error(13))))))":                                                                                                                                                    "KVM cannot be opened, or cannot create a VM",
		"Could not access KVM kernel module: Permission denied\nqemu-system-x86_64: -accel kvm: failed to initialize kvm: Permission denied":                                                                                     "KVM cannot be opened, or cannot create a VM",
		"Error: RunWithApi(BuildFromJson(ParseFromJson(NetDevice(CreateNetworkDevice(TapOpen(IfreqExecuteError(Os { code: 16, kind: ResourceBusy, message: \"Device or resource busy\" }, \"tap0\")))))))":                       "the VM's tap cannot be opened",
		"qemu-system-x86_64: -netdev tap,id=net,ifname=tap0: could not configure /dev/net/tun (tap0): Device or resource busy":                                                                                                   "the VM's tap cannot be opened",
		"Failed to copy /usr/local/bin/firecracker to /x: No space left on device (os error 28)":                                                                                                                                 "the host's disk is full",
		"cannot start VM x: firecracker ended at once: oom-kill, killed":                                                                                                                                                         "the kernel killed it because memory ran out (out-of-memory killer)",
		"qemu-system-x86_64: cannot set up guest memory 'ram': Cannot allocate memory":                                                                                                                                           "the host does not have enough memory for the guest",
		"cannot start VM x: firecracker ended at once: exit-code, status 148":                                                                                                                                                    "it made a system call that a filter forbids (seccomp)",
		"cannot start VM x: qemu ended at once: signal, bad system call":                                                                                                                                                         "it made a system call that a filter forbids (seccomp)",
		"qemu-system-x86_64: error while loading shared libraries: libpixman-1.so.0: cannot open shared object file":                                                                                                             "a library of the program is missing",
		"banger: cannot execute QEMU: fork/exec: Operation not permitted":                                                                                                                                                        "permission for something that it needs was denied",
		"a word that nobody knows": "",
		// A device's name is a part of the answer: nothing else gets into it.
		"Failed to create /dev/\x1b[2J;evil via mknod inside the jail: Operation not permitted": "permission for something that it needs was denied",
	} {
		cause, hint := vmproc.Cause(said)
		if cause != want || (cause == "") != (hint == "") {
			t.Errorf("%q: %q, try %q; want %q", said, cause, hint, want)
		}
	}
}

func TestReasonBeginsWithTheCause(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, paths.VMLog)
	for said, want := range map[string]string{
		"":                            "",
		"\x1b[31mred\r\x07":           "^[[31mred^M^G",
		"df: No space left on device": "the host's disk is full (try: df -h /var/lib/banger); its output: df: No space left on device",
	} {
		if err := os.WriteFile(log, []byte(said), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := vmproc.Reason(dir); got != want || strings.ContainsAny(got, "\x1b\x07") {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}
