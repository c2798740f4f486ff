// Package host makes, boots and controls the lab host: a Debian machine with systemd,
// device-mapper and nested KVM, emulated by QEMU, for testing system mode on machines
// without them.
package host

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

// packages are the packages of the lab host besides mmdebstrap's minbase.
var packages = []string{
	"systemd", "systemd-sysv", "dbus", "udev", "linux-image-cloud-amd64", "kmod", // a machine that boots
	"dmsetup", "e2fsprogs", "iproute2", "nftables", "qemu-system-x86", // what banger uses
	"systemd-resolved", // does not run until a scenario starts it
	"uidmap", "sudo",   // an ordinary user's user mode
	"procps", "xz-utils", "util-linux", "iputils-ping", "netcat-openbsd", "openssh-client", "busybox-static", "jq", "strace", "git", // for scenarios and people
}

// diskSize is the size of the lab's disk, which is sparse.
const diskSize = "12G"

//go:embed recipe/customize.sh
var customize string

// recipe is the digest of everything that determines the image, except the
// distribution's current packages: remove the image to get them again.
func recipe() string {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		release = nil // the packages are then those of whatever apt knows
	}
	h := sha256.New()
	fmt.Fprintln(h, strings.Join(packages, " "), diskSize, customize, string(release))
	return hex.EncodeToString(h.Sum(nil)[:8])
}
