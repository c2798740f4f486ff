package bootup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"banger/internal/guest/agentproto"
)

// configure sets up file systems, host name and network in the root. It continues after a
// failure and returns all failures.
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
		errs = append(errs, configureInit("/", boot))
	}
	var failed []error
	for _, err := range errs {
		if err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// sysctls are settings that container images expect: any user may listen on port 80, and ping
// (docker/engine's daemon/oci_linux.go sets both for the network of a container; see
// ip-sysctl.rst and icmp(7)). An image with its own init uses sysctl.d(5).
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

// configureInit writes files that tell the image's init what the agent has already done. They
// are below /run, so that an image made from this guest does not contain them.
func configureInit(root string, boot agentproto.Boot) error {
	// udev has the modules' indexes open until late: what unmounts them is the very
	// end (systemd.mount(5), DefaultDependencies=), not a unit that fails.
	const late = "[Unit]\nDefaultDependencies=no\n"
	files := map[string]string{
		"run/systemd/system/lib-modules-.mount.d/banger.conf":     late,
		"run/systemd/system/usr-lib-modules-.mount.d/banger.conf": late,
	}
	if boot.Address.IsValid() {
		// The state of ifup(8): `auto eth0` is up already, so DHCP does not start.
		files["run/network/ifstate"] = interfaceName + "=" + interfaceName + "\n"
		// The first file that matches an interface applies (systemd.network(5)). The same
		// addresses tell networkd, units that wait for it to be online, and resolved what the
		// agent has configured.
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

// networkFile returns the configuration of the network as systemd.network(5).
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

// writeResolver writes resolv.conf below root. It replaces a dangling symlink, which systemd
// images have, by a file, and follows a symlink to a file of the image. It writes nothing if the
// content is already there.
func writeResolver(root, content string) error {
	path := filepath.Join(root, "etc/resolv.conf")
	old, err := os.ReadFile(path)
	if err == nil && string(old) == content {
		return nil
	}
	if errors.Is(err, os.ErrNotExist) {
		// The target's directory may be missing: /run is new at every boot.
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("replace resolv.conf: %w", err)
		}
	}
	if err := makeDir(filepath.Join(root, "etc")); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}

// hostName is the guest's name for the machine that it runs on: its gateway.
const hostName = "host.banger.internal"

// writeHosts makes the guest's host name, and hostName, resolve without a name server.
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

// namesHost reports whether hosts(5) text has a line for the name.
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
