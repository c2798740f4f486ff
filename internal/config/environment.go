package config

import (
	"slices"
	"strings"

	"banger/api"
)

// UsualPath are the directories in which programs are searched if the setting path is
// empty: those of a systemd service (systemd.exec(5)), and root's.
const UsualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// OfTheDaemon reports whether a variable affects what the daemon does for all clients:
// a setting, a proxy, or the places of programs, passwords and certificates. Each of
// them has a setting, so that the environment of the command that started the daemon
// has no effect.
func OfTheDaemon(variable string) bool {
	switch variable {
	case "PATH", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR":
		return true
	}
	return strings.HasSuffix(strings.ToLower(variable), "_proxy") ||
		slices.ContainsFunc(settings(), func(s setting) bool { return s.variable() == variable })
}

// Environment returns the variables that the daemon and the programs it runs get from
// the settings.
func (c Config) Environment() map[string]string {
	env := map[string]string{}
	set := func(value string, variables ...string) {
		for _, v := range variables {
			if value != "" {
				env[v] = value
			}
		}
	}
	set(c.Path, "PATH")
	set(c.RegistryAuth, "REGISTRY_AUTH_FILE")
	// apt and others only read the lower-case ones.
	set(c.HTTPProxy, "http_proxy", "HTTP_PROXY")
	set(c.HTTPSProxy, "https_proxy", "HTTPS_PROXY")
	set(c.NoProxy, "no_proxy", "NO_PROXY")
	return env
}

// ForCommand applies a command's own environment for new VMs to shown, the daemon's
// settings. ignored are the variables that differ from the daemon, which does not read
// them.
func ForCommand(shown api.Config, env func(string) string) (merged api.Config, ignored []string, err error) {
	merged = shown
	merged.Values = slices.Clone(shown.Values)
	for _, s := range settings() {
		value := env(s.variable())
		at := slices.IndexFunc(merged.Values, func(v api.ConfigValue) bool { return v.Key == s.key })
		if value == "" || at < 0 {
			continue
		}
		var c Config
		if err := s.set(&c, value); err != nil {
			return shown, nil, api.Errorf(api.KindInvalid, "cannot use %s from the environment: %w", s.variable(), err)
		}
		switch own := s.get(c); {
		case s.ofCommand:
			merged.Values[at].Value, merged.Values[at].Origin = own, string(fromEnvironment)
		case own != merged.Values[at].Value:
			ignored = append(ignored, s.variable())
		}
	}
	return merged, ignored, nil
}
