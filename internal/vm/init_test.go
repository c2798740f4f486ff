package vm

import (
	"strings"
	"testing"

	"banger/api"
	"banger/internal/imageconfig"
)

func TestChooseInit(t *testing.T) {
	label := func(init string) *api.ImageConfig {
		return &api.ImageConfig{Labels: map[string]string{imageconfig.InitLabel: init}}
	}
	for _, test := range []struct {
		wanted string
		config *api.ImageConfig
		want   string
	}{
		{api.InitAuto, nil, api.InitAgent},
		{api.InitAuto, &api.ImageConfig{}, api.InitAgent},
		{api.InitAuto, &api.ImageConfig{Cmd: []string{"bash"}}, api.InitAgent},
		{api.InitAuto, &api.ImageConfig{Init: "systemd"}, api.InitSystemd},
		{api.InitAuto, &api.ImageConfig{Init: "openrc"}, api.InitAgent},
		{api.InitAuto, label("systemd"), api.InitSystemd},
		{api.InitAuto, label("/bin/evil banger.root=/dev/vdb"), api.InitAgent},
		{api.InitAuto, &api.ImageConfig{Cmd: []string{"/sbin/init"}}, api.InitSystemd},
		{api.InitAuto, &api.ImageConfig{Entrypoint: []string{"/lib/systemd/systemd"}, Cmd: []string{"--system"}}, api.InitSystemd},
		{api.InitAuto, &api.ImageConfig{Entrypoint: []string{"/usr/lib//systemd/systemd"}}, api.InitSystemd},
		{api.InitAuto, &api.ImageConfig{Entrypoint: []string{"/entry.sh"}, Cmd: []string{"/sbin/init"}}, api.InitAgent},
		{api.InitAuto, &api.ImageConfig{Init: "agent", Cmd: []string{"/sbin/init"}}, api.InitAgent},
		{api.InitAuto, &api.ImageConfig{Labels: map[string]string{imageconfig.InitLabel: "agent"}, Cmd: []string{"/sbin/init"}}, api.InitAgent},
		{api.InitAuto, label("/init"), "/init"},
		{"/init", label("systemd"), "/init"},
		{api.InitAgent, label("systemd"), api.InitAgent},
		{api.InitSystemd, nil, api.InitSystemd},
	} {
		if got := imageconfig.ChooseInit(test.wanted, test.config); got != test.want {
			t.Errorf("%s, %+v: %s, want %s", test.wanted, test.config, got, test.want)
		}
	}
}

func TestInitOnTheKernelCommandLine(t *testing.T) {
	for init, want := range map[string]bool{"": false, api.InitAgent: false, api.InitSystemd: true} {
		line, err := cmdline(api.VM{Name: "dev", Init: init}, false)
		if err != nil || strings.Contains(line, " banger.init=/sbin/init ") != want {
			t.Errorf("%q: %s, %v", init, line, err)
		}
	}
}

// TestTheNetworkOnTheKernelCommandLine: an isolated guest has no name server, and a gateway only
// if its answers to the host need it.
func TestTheNetworkOnTheKernelCommandLine(t *testing.T) {
	for _, test := range []struct {
		network                string
		userMode               bool
		address, gateway, name bool
	}{
		{"", true, true, true, true},
		{"", false, true, true, true},
		{api.NetworkIsolated, true, true, false, false},
		{api.NetworkIsolated, false, true, true, false},
		{api.NetworkNone, true, false, false, false},
		{api.NetworkNone, false, false, false, false},
	} {
		line, err := cmdline(api.VM{Name: "dev", Network: test.network}, test.userMode)
		has := func(key string) bool { return strings.Contains(line, " banger."+key+"=") }
		if err != nil || has("address") != test.address || has("gateway") != test.gateway || has("dns") != test.name {
			t.Errorf("%+v: %s, %v", test, line, err)
		}
	}
}

func TestTheNetworkOfANewVM(t *testing.T) {
	for _, test := range []struct {
		requested string
		isolated  bool
		want      string
	}{
		{"", false, ""},
		{"", true, api.NetworkIsolated},
		{api.NetworkNAT, true, ""},
		{api.NetworkNone, true, api.NetworkNone},
		{api.NetworkIsolated, false, api.NetworkIsolated},
	} {
		if got := network(test.requested, Defaults{Isolated: test.isolated}); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

// TestAProgramOfTheImageAsInit: what can only be process 1 is, and is not run again.
func TestAProgramOfTheImageAsInit(t *testing.T) {
	line, err := cmdline(api.VM{Name: "dev", Init: "/init"}, false)
	if err != nil || !strings.Contains(line, " banger.init=/init ") {
		t.Errorf("%s, %v", line, err)
	}
	for _, bad := range []string{"/", "init", "/a b", "/a=\"b\"", "/../x", "/a//b", "/bin/evil banger.root=/dev/vdb"} {
		if imageconfig.CheckInit(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	img := api.Image{Digest: digest, Config: &api.ImageConfig{Entrypoint: []string{"/init"}, Cmd: []string{"serve"}}}
	v := api.VM{Init: "/init"}
	if err := useImage(&v, img, Defaults{}); err != nil || v.ImageConfig.Entrypoint != nil {
		t.Errorf("%+v, %v", v.ImageConfig, err)
	}
}

func TestUnknownInitIsRefused(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Create(t.Context(), api.CreateVM{Init: "upstart"}); api.KindOf(err) != api.KindInvalid {
		t.Errorf("got %v", err)
	}
	if all, err := w.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("it left %v, %v", all, err)
	}
}

// TestTheCommandThatBootsIsNoCommand: a VM of an image whose command is an init has
// nothing else to run.
func TestTheCommandThatBootsIsNoCommand(t *testing.T) {
	img := api.Image{Digest: digest, Config: &api.ImageConfig{Env: []string{"A=b"}, Cmd: []string{"/sbin/init"}}}
	for wanted, command := range map[string]int{api.InitAuto: 0, api.InitSystemd: 0, api.InitAgent: 1} {
		v := api.VM{Init: wanted}
		if err := useImage(&v, img, Defaults{}); err != nil {
			t.Fatal(err)
		}
		if len(v.ImageConfig.Cmd) != command || len(v.ImageConfig.Env) != 1 || len(img.Config.Cmd) != 1 {
			t.Errorf("%s: %s with %+v", wanted, v.Init, v.ImageConfig)
		}
	}
	img.Config = &api.ImageConfig{Cmd: []string{"serve"}, Labels: map[string]string{imageconfig.InitLabel: "systemd"}}
	v := api.VM{Init: api.InitAuto}
	if err := useImage(&v, img, Defaults{}); err != nil || v.Init != api.InitSystemd || len(v.ImageConfig.Cmd) != 1 {
		t.Errorf("%s with %+v, %v", v.Init, v.ImageConfig, err)
	}
}
