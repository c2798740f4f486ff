package system

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"banger/api"
)

const ipForwardFile = "/proc/sys/net/ipv4/ip_forward"

// forwarding is whether the machine forwards packets between its networks.
type forwarding struct{ tree }

// state returns "1" if it does, and "0" if it does not.
func (f forwarding) state() (string, error) {
	data, err := os.ReadFile(f.path(ipForwardFile))
	if err != nil {
		return "", api.Errorf(api.KindUnsupported, "cannot find out whether this machine forwards packets: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// turnOff turns it off again, unless another program may rely on
// it by now: Docker, libvirt and LXC find it on, and do not record that they need it.
// They have a bridge, and banger has none.
func (f forwarding) turnOff(report Report) error {
	if others := f.bridges(); len(others) > 0 {
		report(fmt.Sprintf("packet forwarding stays on, as the network of %s may rely on it; to turn it off: sudo sysctl net.ipv4.ip_forward=0",
			strings.Join(others, ", ")))
		return nil
	}
	if err := os.WriteFile(f.path(ipForwardFile), []byte("0\n"), 0o644); err != nil {
		return api.Errorf(api.KindInternal, "cannot turn packet forwarding off again: %w", err)
	}
	return nil
}

// bridges returns the names of the machine's bridges: only bridges have this directory
// (net/bridge/br_sysfs_br.c in the kernel).
func (f forwarding) bridges() []string {
	found, _ := filepath.Glob(f.path("/sys/class/net/*/bridge")) // only a bad pattern fails
	for i, path := range found {
		found[i] = filepath.Base(filepath.Dir(path))
	}
	return found
}
