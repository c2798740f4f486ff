package config

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"banger/api"
	"banger/internal/label"
	"banger/internal/size"
)

// Limits of a VM. The upper limits are far above the needs of a sandbox: they catch
// typing errors before these fill a disk.
const (
	MaxVCPUs  = 128
	MinMemory = 128 * size.MiB // what the default kernel and agent need to boot
	MaxMemory = 4 * size.TiB
	MinDisk   = 16 * size.MiB
	MaxDisk   = 16*size.TiB - size.MiB // ext4 with 4 KiB blocks ends one block before 16 TiB (ext4(5))
)

// setting is a key of config.toml: how it is parsed, shown and explained.
type setting struct {
	key, doc string
	// ofCommand: the variable applies to a command that has it, as part of its request.
	ofCommand bool
	// ofVM: the setting is one of a new VM, so that tables of profiles and images may have it.
	ofVM bool
	// list: the file may have a list of texts.
	list     bool
	fallback func(Host) (string, origin)
	set      func(*Config, string) error
	get      func(Config) string
}

// variable returns the environment variable that overrides the setting.
func (s setting) variable() string { return "BANGER_" + strings.ToUpper(s.key) }

func settings() []setting {
	return slices.Concat(sizeSettings(), choiceSettings(), networkSettings(), fileSettings(), timeSettings(), pathSettings())
}

func sizeSettings() []setting {
	return []setting{
		{
			key: "vcpus", doc: "processors of a new VM (2, or the host's one)", ofCommand: true, ofVM: true,
			fallback: func(h Host) (string, origin) { return strconv.Itoa(h.vcpus()), fromHost },
			set:      func(c *Config, v string) (err error) { c.VCPUs, err = ParseVCPUs(v); return },
			get:      func(c Config) string { return strconv.Itoa(c.VCPUs) },
		},
		{
			key: "memory", doc: "memory of a new VM (an eighth of the host's, from 512M to 2G)", ofCommand: true, ofVM: true,
			fallback: func(h Host) (string, origin) { return size.Exact(h.memory()), fromHost },
			set:      func(c *Config, v string) (err error) { c.MemoryBytes, err = ParseMemory(v); return },
			get:      func(c Config) string { return size.Exact(c.MemoryBytes) },
		},
		{
			key: "disk", doc: "disk of a new VM; it occupies only what is written", ofCommand: true, ofVM: true,
			fallback: func(Host) (string, origin) { return "8G", fromDefault },
			set:      func(c *Config, v string) (err error) { c.DiskBytes, err = ParseDisk(v); return },
			get:      func(c Config) string { return size.Exact(c.DiskBytes) },
		},
		{
			key: "console_log", doc: "how much of a VM's serial console is kept",
			fallback: func(Host) (string, origin) { return "1M", fromDefault },
			set: func(c *Config, v string) (err error) {
				c.ConsoleBytes, err = bounded(v, "a console log", 4*size.KiB, size.GiB)
				return
			},
			get: func(c Config) string { return size.Exact(c.ConsoleBytes) },
		},
	}
}

func choiceSettings() []setting {
	return []setting{
		{
			key: "image", doc: "root file system of a new VM", ofCommand: true, ofVM: true,
			fallback: constant("debian"),
			set:      func(c *Config, v string) (err error) { c.Image, err = word(v); return },
			get:      func(c Config) string { return c.Image },
		},
		{
			key: "builder_image", doc: "image of the VM that builds Dockerfiles; it has buildah",
			fallback: constant(BuilderImage),
			set:      func(c *Config, v string) (err error) { c.BuilderImage, err = ParseImage(v); return },
			get:      func(c Config) string { return c.BuilderImage },
		},
		{
			key: "kernel", doc: "kernel of a new VM; empty is the distribution's newest", ofCommand: true, ofVM: true,
			fallback: constant(""),
			set:      func(c *Config, v string) (err error) { c.Kernel, err = word(v); return },
			get:      func(c Config) string { return c.Kernel },
		},
		{
			key: "driver", doc: "what runs VMs: qemu, or firecracker in system mode; auto: the best available one", ofCommand: true, ofVM: true,
			fallback: constant("auto"),
			set:      func(c *Config, v string) (err error) { c.Driver, err = word(v); return },
			get:      func(c Config) string { return c.Driver },
		},
		{
			key: "init", doc: "what is process 1 of a new VM: agent, systemd or auto: chosen by the image", ofCommand: true, ofVM: true,
			fallback: constant(api.InitAuto),
			set:      func(c *Config, v string) (err error) { c.Init, err = ParseInit(v); return },
			get:      func(c Config) string { return c.Init },
		},
		{
			key: "tools", doc: "mise: it sets up tools before commands of `vm run`; or none", ofCommand: true, ofVM: true,
			fallback: constant(api.ToolsNone),
			set:      func(c *Config, v string) (err error) { c.Tools, err = ParseTools(v); return },
			get:      func(c Config) string { return c.Tools },
		},
		{
			key: "nat", doc: "whether a new VM reaches the outside; false is --network isolated", ofCommand: true, ofVM: true,
			fallback: constant("true"),
			set:      func(c *Config, v string) (err error) { c.NAT, err = ParseNAT(v); return },
			get:      func(c Config) string { return strconv.FormatBool(c.NAT) },
		},
		{
			key: "accel", doc: "kvm, tcg (emulation) or auto: the result of a test boot",
			fallback: constant("auto"),
			set: func(c *Config, v string) error {
				switch v {
				case "auto":
					c.Accel = ""
				case "kvm", "tcg":
					c.Accel = v
				default:
					return fmt.Errorf("%.40q is not one of auto, kvm and tcg", v)
				}
				return nil
			},
			get: func(c Config) string {
				if c.Accel == "" {
					return "auto"
				}
				return c.Accel
			},
		},
	}
}

func networkSettings() []setting {
	return []setting{
		{
			key: "network", doc: "network of a new VM: nat, isolated or none; empty: as nat says", ofCommand: true, ofVM: true,
			fallback: constant(""),
			set:      func(c *Config, v string) (err error) { c.Network, err = ParseNetwork(v); return },
			get:      func(c Config) string { return c.Network },
		},
		{
			key: "publish", doc: `ports of a new VM to publish, as with --publish: ["8080:80"]`, ofVM: true, list: true,
			fallback: constant(""),
			set:      func(c *Config, v string) (err error) { c.Publish, err = parsePublish(v); return },
			get:      func(c Config) string { return formatPublish(c.Publish) },
		},
		{
			key: "label", doc: `labels of a new VM, as with --label: ["team=web"]`, ofVM: true, list: true,
			fallback: constant(""),
			set:      func(c *Config, v string) (err error) { c.Labels, err = parseLabels(v); return },
			get:      func(c Config) string { return formatLabels(c.Labels) },
		},
	}
}

func timeSettings() []setting {
	return []setting{
		{
			key: "grace", doc: "how long a guest may take to shut down before it is killed",
			fallback: constant("10s"),
			set:      func(c *Config, v string) (err error) { c.Grace, err = duration(v); return },
			get:      func(c Config) string { return c.Grace.String() },
		},
		{
			key: "boot_timeout", doc: "how long a guest may take to answer after its start",
			fallback: constant("2m"),
			set:      func(c *Config, v string) (err error) { c.BootTimeout, err = duration(v); return },
			get:      func(c Config) string { return c.BootTimeout.String() },
		},
	}
}

func pathSettings() []setting {
	const program = "path of the program; empty: the one in the usual directories"
	return []setting{
		pathSetting("firecracker", program, func(c *Config) *string { return &c.Firecracker }),
		pathSetting("jailer", program, func(c *Config) *string { return &c.Jailer }),
		pathSetting("qemu", program, func(c *Config) *string { return &c.QEMU }),
		{
			key: "firecracker_url", doc: "where `banger system firecracker` gets releases from",
			fallback: constant(FirecrackerReleases),
			set:      func(c *Config, v string) (err error) { c.FirecrackerURL, err = webAddress(v); return },
			get:      func(c Config) string { return c.FirecrackerURL },
		},
		pathSetting("registry_ca", "path of further certificates (PEM) that registries are trusted with",
			func(c *Config) *string { return &c.RegistryCA }),
		pathSetting("registry_auth", "path of a file with registries' passwords, in addition to Docker's and Podman's",
			func(c *Config) *string { return &c.RegistryAuth }),
		{
			key: "path", doc: "directories with programs, as in PATH; empty: the usual ones",
			fallback: constant(""),
			set:      func(c *Config, v string) (err error) { c.Path, err = directories(v); return },
			get:      func(c Config) string { return c.Path },
		},
		proxySetting("http_proxy", "the proxy for plain HTTP, such as http://proxy.example.com:3128", func(c *Config) *string { return &c.HTTPProxy }),
		proxySetting("https_proxy", "the proxy for HTTPS, which registries use", func(c *Config) *string { return &c.HTTPSProxy }),
		{
			key: "no_proxy", doc: "hosts to access without a proxy: names, domains, addresses, separated by commas",
			fallback: constant(""),
			set:      func(c *Config, v string) error { c.NoProxy = v; return nil },
			get:      func(c Config) string { return c.NoProxy },
		},
		{
			key: "registry_mirrors", doc: "mirrors to try first, REGISTRY=MIRROR …: docker.io=mirror.example.com/hub",
			fallback: constant(""),
			set:      func(c *Config, v string) (err error) { c.RegistryMirrors, err = ParseMirrors(v); return },
			get:      func(c Config) string { return formatMirrors(c.RegistryMirrors) },
		},
	}
}

func pathSetting(name, doc string, field func(*Config) *string) setting {
	return setting{
		key: name, doc: doc,
		fallback: constant(""),
		set: func(c *Config, v string) error {
			if v != "" && !filepath.IsAbs(v) {
				return fmt.Errorf("%.80q is not an absolute path", v)
			}
			*field(c) = v
			return nil
		},
		get: func(c Config) string { return *field(&c) },
	}
}

func proxySetting(name, doc string, field func(*Config) *string) setting {
	return setting{
		key: name, doc: doc,
		fallback: constant(""),
		set: func(c *Config, v string) error {
			u, err := url.Parse(v)
			if v != "" && (err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme)) {
				return errors.New("use the form http://HOST:PORT") // it may have a password: not shown
			}
			*field(c) = v
			return nil
		},
		get: func(c Config) string {
			u, err := url.Parse(*field(&c))
			if err != nil {
				return ""
			}
			return u.Redacted()
		},
	}
}

// directories checks a list in the format of PATH.
func directories(text string) (string, error) {
	for dir := range strings.SplitSeq(text, ":") {
		if text != "" && !filepath.IsAbs(dir) {
			return "", fmt.Errorf("%.80q is not an absolute path", dir)
		}
	}
	return text, nil
}

// FirecrackerReleases is the page of Firecracker's releases.
const FirecrackerReleases = "https://github.com/firecracker-microvm/firecracker/releases"

func webAddress(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", fmt.Errorf("%.80q is not a valid address such as %s", text, FirecrackerReleases)
	}
	return text, nil
}

func constant(value string) func(Host) (string, origin) {
	return func(Host) (string, origin) { return value, fromDefault }
}

// ParseInit parses the setting for process 1 of a guest.
func ParseInit(text string) (string, error) {
	switch text {
	case api.InitAgent, api.InitSystemd, api.InitAuto:
		return text, nil
	}
	if api.IsInitPath(text) {
		return text, nil
	}
	return "", fmt.Errorf("%.40q is not agent, systemd, auto or the path of a program", text)
}

// ParseTools parses the setting for what sets up tools in a guest.
func ParseTools(text string) (string, error) {
	switch text {
	case api.ToolsMise, api.ToolsNone:
		return text, nil
	}
	return "", fmt.Errorf("%.40q is not one of mise and none", text)
}

func parseLabels(text string) (map[string]string, error) {
	change, err := label.Parse(list(text))
	if err == nil && len(change.Remove) > 0 {
		err = fmt.Errorf("cannot remove the label %s: a new VM has none", change.Remove[0])
	}
	return change.Set, err
}

// formatLabels is the text that parseLabels reads.
func formatLabels(labels map[string]string) string {
	var items []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		items = append(items, key+"="+labels[key])
	}
	return strings.Join(items, listSeparator)
}

// ParseNAT parses whether a VM reaches the outside.
func ParseNAT(text string) (bool, error) { return yesNo(text) }

// ParseNetwork parses the network of a VM; empty: as the setting nat says.
func ParseNetwork(text string) (string, error) {
	switch text {
	case "", api.NetworkNAT, api.NetworkIsolated, api.NetworkNone:
		return text, nil
	}
	return "", fmt.Errorf("%.40q is not one of nat, isolated and none", text)
}

// ParseVCPUs parses a number of processors.
func ParseVCPUs(text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return 0, fmt.Errorf("%.40q is not an integer", text)
	}
	return n, CheckVCPUs(n)
}

// CheckVCPUs refuses a number of processors that no VM can have.
func CheckVCPUs(n int) error {
	if n < 1 || n > MaxVCPUs {
		return fmt.Errorf("%d processors: a VM has from 1 to %d", n, MaxVCPUs)
	}
	return nil
}

// ParseMemory parses the size of a VM's memory, in bytes.
func ParseMemory(text string) (int64, error) { return bounded(text, "memory", MinMemory, MaxMemory) }

// ParseDisk parses the size of a VM's disk, in bytes.
func ParseDisk(text string) (int64, error) { return bounded(text, "a disk", MinDisk, MaxDisk) }

func bounded(text, what string, low, high int64) (int64, error) {
	n, err := size.Parse(text)
	if err != nil {
		return 0, err
	}
	return n, within(n, what, low, high)
}

func within(n int64, what string, low, high int64) error {
	switch {
	case n < low:
		return fmt.Errorf("%s is too small: %s has at least %s", size.Format(n), what, size.Exact(low))
	case n > high:
		return fmt.Errorf("%s is too large: %s has %s", size.Format(n), what, atMost(high))
	}
	return nil
}

// atMost words an upper limit: that of a disk is one MiB less than what people write.
func atMost(high int64) string {
	if (high+size.MiB)%size.TiB == 0 {
		return "less than " + size.Exact(high+size.MiB)
	}
	return "at most " + size.Exact(high)
}

func duration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%.40q is not a valid duration: use one such as 10s or 2m", text)
	case d <= 0 || d > 24*time.Hour:
		return 0, fmt.Errorf("%s: a duration must be more than zero and at most 24h", d)
	}
	return d, nil
}

// BuilderImage is the image that banger makes itself for builds of Dockerfiles.
const BuilderImage = "banger-builder"

var words = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,254}$`)

func word(text string) (string, error) {
	if text != "" && !words.MatchString(text) {
		return "", fmt.Errorf("%.40q is not a valid name", text)
	}
	return text, nil
}

// ParseImage parses the name or reference of an image.
func ParseImage(text string) (string, error) {
	if text == "" {
		return "", errors.New("the name of the image is empty")
	}
	return word(text)
}

// Help describes every setting, a line each.
func Help() string {
	var b strings.Builder
	for _, s := range settings() {
		fmt.Fprintf(&b, "  %-15s %s\n", s.key, s.doc)
	}
	fmt.Fprintf(&b, "  %-15s %s\n", imageNames, imageNamesDoc)
	for _, t := range tablesDoc {
		fmt.Fprintf(&b, "  %-15s %s\n", t.Key, t.Doc)
	}
	return b.String()
}
