// Package kernel keeps guest kernels: it takes them from the distribution's
// packages or from files, extracts the uncompressed kernel and exactly the
// modules that a guest needs to find its devices, and makes the initramfs that
// carries them and the agent.
package kernel

// BaseCmdline is what every guest's kernel command line begins with; the
// driver adds the console, agentproto.Boot the agent's part. Measured under
// QEMU's microvm machine; docs of each argument are in the kernel's
// Documentation/admin-guide/kernel-parameters.txt.
//
//   - quiet: every line on the emulated serial port costs an exit a byte.
//   - panic=-1: a panic reboots at once, which ends the VMM.
//   - reboot=t: by triple fault, which is the one reset that microvm has.
//   - random.trust_cpu=on: the random number generator is ready at once.
//   - tsc=reliable, no_timer_check: no waiting for timers to prove themselves.
//   - i8042.*: nothing of a keyboard controller is probed.
const BaseCmdline = "quiet panic=-1 reboot=t random.trust_cpu=on tsc=reliable no_timer_check " +
	"i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd"
