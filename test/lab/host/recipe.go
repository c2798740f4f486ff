// Package host makes, boots and drives the lab host: a Debian machine with systemd,
// device-mapper and nested KVM, emulated by QEMU, in which system mode is proven on
// machines that have none of them.
package host

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

// packages are what the lab host has beyond mmdebstrap's minbase.
var packages = []string{
	"systemd", "systemd-sysv", "dbus", "udev", "linux-image-cloud-amd64", "kmod", // a machine that boots
	"dmsetup", "e2fsprogs", "iproute2", "nftables", "qemu-system-x86", // what banger uses
	"uidmap", "sudo", // an ordinary user's user mode
	"procps", "xz-utils", "util-linux", "iputils-ping", "netcat-openbsd", "openssh-client", "busybox-static", "jq", "strace", // for scenarios and people
}

// diskSize is the size of the lab's disk, which is sparse.
const diskSize = "12G"

//go:embed recipe/customize.sh
var customize string

// recipe is the digest of everything that the image is made by. Which packages the
// distribution has today is no part of it: remove the image to have them anew.
func recipe() string {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		release = nil // the packages are then those of whatever apt knows
	}
	h := sha256.New()
	fmt.Fprintln(h, strings.Join(packages, " "), diskSize, customize, string(release))
	return hex.EncodeToString(h.Sum(nil)[:8])
}
