package config

import (
	"slices"
	"strings"
	"testing"

	"banger/api"
)

// TestWhatTheDaemonDoesNotInherit: every setting has a variable that is not inherited,
// and what belongs to a user's session is.
func TestWhatTheDaemonDoesNotInherit(t *testing.T) {
	names := []string{"PATH", "https_proxy", "HTTPS_PROXY", "NO_PROXY", "all_proxy", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "SSL_CERT_FILE"}
	for _, s := range settings() {
		names = append(names, s.variable())
	}
	for _, name := range names {
		if !OfTheDaemon(name) {
			t.Errorf("%s is inherited", name)
		}
	}
	for _, name := range []string{"HOME", "XDG_RUNTIME_DIR", "BANGER_HOME", "BANGER_AGENT", "DBUS_SESSION_BUS_ADDRESS", "PROXY"} {
		if OfTheDaemon(name) {
			t.Errorf("%s is not inherited", name)
		}
	}
}

func TestEnvironment(t *testing.T) {
	c, err := Load(write(t, "path = \"/opt/bin:/bin\"\nhttps_proxy = \"http://u:secret@p:3128\"\nregistry_auth = \"/a\"\n"), noEnv, laptop)
	if err != nil {
		t.Fatal(err)
	}
	got := c.Environment()
	if got["PATH"] != "/opt/bin:/bin" || got["HTTPS_PROXY"] != "http://u:secret@p:3128" || got["https_proxy"] != got["HTTPS_PROXY"] || got["REGISTRY_AUTH_FILE"] != "/a" {
		t.Errorf("got %v", got)
	}
	if _, there := got["NO_PROXY"]; there {
		t.Error("a setting that is empty takes the variable from a service of the machine")
	}
	for _, v := range c.API().Values {
		if strings.Contains(v.Value, "secret") {
			t.Errorf("%s shows a password", v.Key)
		}
	}
	for _, bad := range []string{"proxy:3128", "ftp://p", "http://"} {
		if _, err := Load(write(t, "http_proxy = \""+bad+"\""), noEnv, laptop); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := Load(write(t, "path = \"/bin::/usr/bin\""), noEnv, laptop); err == nil {
		t.Error("a path with this directory in it is taken")
	}
}

// TestForCommand: a command's own environment counts for what it asks for, and for
// nothing else.
func TestForCommand(t *testing.T) {
	c, err := Load("/nonexistent", noEnv, laptop)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"BANGER_DISK": "20G", "BANGER_ACCEL": "kvm", "BANGER_GRACE": "10s"}
	got, ignored, err := ForCommand(c.API(), func(name string) string { return env[name] })
	if err != nil || !slices.Equal(ignored, []string{"BANGER_ACCEL"}) {
		t.Errorf("ignored: %q, %v", ignored, err)
	}
	for _, want := range []api.ConfigValue{{Key: "disk", Value: "20G", Origin: "environment"}, {Key: "accel", Value: "auto", Origin: "default"}} {
		if !slices.Contains(got.Values, want) {
			t.Errorf("%+v is not in %+v", want, got.Values)
		}
	}
	env = map[string]string{"BANGER_VCPUS": "many"}
	if _, _, err := ForCommand(c.API(), func(name string) string { return env[name] }); api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "BANGER_VCPUS") {
		t.Errorf("got %v", err)
	}
}
