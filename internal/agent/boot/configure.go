package bootup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"banger/internal/agentproto"
)

// configure sets up what is inside the root: file systems, host name, network.
// It goes on after a failure and returns all of them.
func configure(boot agentproto.Boot) []error {
	errs := mountGuestFS(boot.Init == "")
	if boot.Hostname != "" {
		errs = append(errs, unix.Sethostname([]byte(boot.Hostname)), writeHosts("/", boot))
	}
	if boot.Init == "" {
		errs = append(errs, setSysctls("/proc/sys"))
	}
	errs = append(errs, setupNetwork(boot))
	if boot.DNS.IsValid() {
		errs = append(errs, writeResolver("/", resolver(boot)))
	}
	if boot.Init != "" {
		errs = append(errs, tellInit("/", boot))
	}
	var failed []error
	for _, err := range errs {
		if err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// sysctls are what images expect that are made for containers, in which a user of the
// image's may serve port 80, and ping (docker/engine's daemon/oci_linux.go sets both
// for the network of a container; ip-sysctl.rst and icmp(7) say what they mean). An
// image with an init of its own has sysctl.d(5).
var sysctls = map[string]string{
	"net/ipv4/ip_unprivileged_port_start": "0",
	"net/ipv4/ping_group_range":           "0 2147483647",
}

// setSysctls sets them in the directory root. A kernel may lack one.
func setSysctls(root string) error {
	var errs []error
	for name, value := range sysctls {
		err := os.WriteFile(filepath.Join(root, name), []byte(value), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// tellInit tells the image's init what the agent has done already. All of it is below
// /run, so that an image that is taken of this guest does not have it.
func tellInit(root string, boot agentproto.Boot) error {
	// udev has the modules' indexes open until late: what unmounts them is the very
	// end (systemd.mount(5), DefaultDependencies=), not a unit that fails.
	const late = "[Unit]\nDefaultDependencies=no\n"
	files := map[string]string{
		"run/systemd/system/lib-modules-.mount.d/banger.conf":     late,
		"run/systemd/system/usr-lib-modules-.mount.d/banger.conf": late,
	}
	if boot.Address.IsValid() {
		// What ifup(8) remembers: `auto eth0` is up already, and no DHCP begins.
		files["run/network/ifstate"] = interfaceName + "=" + interfaceName + "\n"
		// The first file that matches an interface counts (systemd.network(5)). The
		// same addresses again make networkd, what waits for it to be online, and
		// resolved know what the agent knows.
		files["run/systemd/network/00-banger.network"] = networkFile(boot)
	}
	for path, text := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// networkFile is the configuration of the network as systemd.network(5).
func networkFile(boot agentproto.Boot) string {
	text := "[Match]\nName=" + interfaceName + "\n\n[Network]\nKeepConfiguration=yes\nAddress=" + boot.Address.String() + "\n"
	if boot.Gateway.IsValid() {
		text += "Gateway=" + boot.Gateway.String() + "\n"
	}
	if boot.DNS.IsValid() {
		text += "DNS=" + boot.DNS.String() + "\n"
	}
	if boot.Search != "" {
		text += "Domains=" + strings.ReplaceAll(boot.Search, ",", " ") + "\n"
	}
	return text
}

// resolver is the content of resolv.conf(5).
func resolver(boot agentproto.Boot) string {
	text := "nameserver " + boot.DNS.String() + "\n"
	if boot.Search != "" {
		text += "search " + strings.ReplaceAll(boot.Search, ",", " ") + "\n"
	}
	return text
}

// writeResolver writes resolv.conf below root. A symlink that leads nowhere,
// as systemd images have it, gives way to a file; one that leads to a file of
// the image's own is followed. Nothing is written that is there already.
func writeResolver(root, content string) error {
	path := filepath.Join(root, "etc/resolv.conf")
	old, err := os.ReadFile(path)
	if err == nil && string(old) == content {
		return nil
	}
	if errors.Is(err, os.ErrNotExist) {
		// Where it leads cannot be made sure to exist: /run is new at every boot.
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("replace resolv.conf: %w", err)
		}
	}
	if err := makeDir(filepath.Join(root, "etc")); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}

// hostName is the name of the machine that the guest runs on: its gateway.
const hostName = "host.banger.internal"

// writeHosts makes the host name, and a name for the machine below, resolve without a
// name server.
func writeHosts(root string, boot agentproto.Boot) error {
	path := filepath.Join(root, "etc/hosts")
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	text := string(old)
	more := ""
	if !namesHost(text, boot.Hostname) {
		more += "127.0.1.1\t" + boot.Hostname + "\n" // Debian's address for the host's own name
	}
	if boot.Gateway.IsValid() && !namesHost(text, hostName) {
		more += boot.Gateway.String() + "\t" + hostName + "\n"
	}
	if more == "" {
		return nil
	}
	if text == "" {
		text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if err := makeDir(filepath.Join(root, "etc")); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text+more), 0o644)
}

// namesHost says whether hosts(5) text has a line for the name.
func namesHost(text, hostname string) bool {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for i, word := range strings.Fields(line) {
			if i > 0 && word == hostname {
				return true
			}
		}
	}
	return false
}
