package apt

import (
	"context"
	"strings"
)

// AcquireOptions returns the host's Acquire settings (proxy, retries, checks
// of dates …) as lines of apt.conf(5) that another apt, such as the one that
// mmdebstrap runs, takes: `Acquire::http::Proxy "http://proxy.example.org";`.
func (a *Apt) AcquireOptions(ctx context.Context) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out, err := a.output(ctx, "apt-config", "dump")
	if err != nil {
		return nil, err
	}
	return parseAcquire(out), nil
}

// parseAcquire picks the Acquire settings with a value. Those that say which
// indexes there are belong to the host's own tools and are passed over.
func parseAcquire(dump string) []string {
	var options []string
	for line := range strings.Lines(dump) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, " ")
		if !ok || !strings.HasPrefix(key, "Acquire::") || value == `"";` || !strings.HasSuffix(value, `";`) {
			continue
		}
		switch part := strings.Split(key, "::"); part[1] {
		case "IndexTargets", "Changelogs", "CompressionTypes", "cdrom", "Languages", "GzipIndexes":
		default:
			options = append(options, line)
		}
	}
	return options
}

// onlyPackages returns the options that turn off every index but the one of
// packages: hosts add large ones (icons, contents) for tools of their own.
func (a *Apt) onlyPackages(ctx context.Context) ([]string, error) {
	out, err := a.output(ctx, "apt-config", "dump")
	if err != nil {
		return nil, err
	}
	var args []string
	for _, target := range parseTargets(out) {
		args = append(args, "-o", "Acquire::IndexTargets::deb::"+target+"::DefaultEnabled=false")
	}
	return args, nil
}

func parseTargets(dump string) []string {
	var targets []string
	for line := range strings.Lines(dump) {
		key, _, _ := strings.Cut(line, " ")
		target, ok := strings.CutPrefix(key, "Acquire::IndexTargets::deb::")
		if ok && target != "" && target != "Packages" && !strings.Contains(target, "::") {
			targets = append(targets, target)
		}
	}
	return targets
}
