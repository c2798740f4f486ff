package config

import (
	"slices"
	"strings"

	"banger/api"
)

// UsualPath are the directories that programs are looked for in where the setting path
// names no others: those of a service of systemd (systemd.exec(5)), with the ones of root.
const UsualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// OfTheDaemon says whether a variable decides what the daemon does for all of its
// clients: a setting, a proxy, where programs, passwords and certificates are. Each of
// these has a setting, so that it is not what the command happened to have that started
// the daemon.
func OfTheDaemon(variable string) bool {
	switch variable {
	case "PATH", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR":
		return true
	}
	return strings.HasSuffix(strings.ToLower(variable), "_proxy") ||
		slices.ContainsFunc(settings(), func(s setting) bool { return s.variable() == variable })
}

// Environment are the variables that the daemon and the programs it runs are to have
// for the settings.
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
	// apt and others read the small ones alone.
	set(c.HTTPProxy, "http_proxy", "HTTP_PROXY")
	set(c.HTTPSProxy, "https_proxy", "HTTPS_PROXY")
	set(c.NoProxy, "no_proxy", "NO_PROXY")
	return env
}

// ForCommand puts what a command's own environment says about new VMs over shown, the
// daemon's settings. ignored are the variables that say otherwise than the daemon, which
// does not read them.
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
