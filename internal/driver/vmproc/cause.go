package vmproc

import (
	"fmt"
	"regexp"
	"strings"
)

// causes are the known reasons why a VMM ends, recognized in its output and systemd's: the first
// match applies. %[1]s in a cause is the match of the pattern's group, a word of letters, digits
// and "/": the VMM itself writes the log.
var causes = []struct {
	pattern     *regexp.Regexp
	cause, hint string
}{
	// The jailer's messages are in src/jailer/src/main.rs of Firecracker.
	{regexp.MustCompile(`Failed to create "?(/[\w/]+)"? via mknod inside the jail: Operation not permitted`),
		"the VM's unit does not let the jailer make the device node %[1]s",
		"this jailer is newer than banger knows: sudo banger update"},
	{regexp.MustCompile(`Failed to move process to cgroup`),
		"the jailer cannot enter the VM's cgroup", "banger doctor   shows whether the host has cgroup v2"},
	{regexp.MustCompile(`Failed to join network namespace`),
		"the jailer cannot enter the VM's network namespace", "banger doctor --leaks   shows what is left of it"},
	{regexp.MustCompile(`Failed to exec into Firecracker: No such file or directory`),
		"the program firecracker needs libraries, which a jail does not have", "install the release's own programs, which are static"},
	{regexp.MustCompile(`Failed to exec into Firecracker: Permission denied`),
		"the file system of the jails does not allow programs (noexec)", "findmnt -T /var/lib/banger/jails"},
	{regexp.MustCompile(`Found argument '[^']*' which wasn't expected|UnexpectedArgument\(|MissingArgument\(|Argument '[^']*' required, but not found`),
		"firecracker and jailer are of different releases", "install both programs of one release"},
	// Firecracker prints its error as text to its log and as a value of Rust to standard error.
	{regexp.MustCompile(`Error creating KVM object|Kvm\(Error\(\d+\)\)|Could not access KVM kernel module|failed to initialize kvm`),
		"KVM cannot be opened, or cannot create a VM", "banger doctor   shows why; QEMU does not need KVM: --driver qemu"},
	{regexp.MustCompile(`OpenTun\(|IfreqExecuteError\(|could not configure /dev/net/tun|could not open /dev/net/tun`),
		"the VM's tap cannot be opened", "banger doctor --leaks   shows whether another process has it"},
	{regexp.MustCompile(`No space left on device|StorageFull`),
		"the host's disk is full", "df -h /var/lib/banger"},
	{regexp.MustCompile(`oom-kill`),
		"the kernel killed it because memory ran out (out-of-memory killer)", "give the VM less memory, or stop another one"},
	{regexp.MustCompile(`Cannot allocate memory|OutOfMemory|cannot set up guest memory`),
		"the host does not have enough memory for the guest", "give the VM less memory, or stop another one"},
	// Exit code 148 is Firecracker's FcExitCode::BadSyscall (src/vmm/src/lib.rs).
	{regexp.MustCompile(`intercepting a bad syscall|BadSyscall|status 148\b|bad system call`),
		"it made a system call that a filter forbids (seccomp)", "install another release of firecracker and jailer, and report this"},
	{regexp.MustCompile(`error while loading shared libraries`),
		"a library of the program is missing", "apt-get install --reinstall PACKAGE, with the package of the program"},
	{regexp.MustCompile(`Permission denied|Operation not permitted|PermissionDenied`),
		"permission for something that it needs was denied", "banger doctor"},
}

// Cause returns in plain words why a VMM ended, and what to do, if its or systemd's output is
// known; otherwise both are empty.
func Cause(said string) (cause, hint string) {
	for _, c := range causes {
		if found := c.pattern.FindStringSubmatch(said); found != nil {
			if strings.Contains(c.cause, "%") {
				return fmt.Sprintf(c.cause, found[1]), c.hint
			}
			return c.cause, c.hint
		}
	}
	return "", ""
}

// Reason returns LastWords, preceded by the cause in plain words if it is known.
func Reason(dir string) string {
	words := LastWords(dir)
	cause, hint := Cause(words)
	if cause == "" {
		return words
	}
	return fmt.Sprintf("%s (try: %s); its output: %s", cause, hint, words)
}
